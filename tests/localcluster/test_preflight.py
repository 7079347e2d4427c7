"""What is checked before anything starts."""

import os
import socket

import pytest

from toystore.config import load, parse
from toystore.localcluster import preflight
from toystore.localcluster.preflight import StartError

from .stand_ins import NAMES


def test_a_second_cluster_on_the_same_data_is_refused_with_the_firsts_pid(tmp_path):
    with (
        preflight.held(tmp_path),
        pytest.raises(StartError, match=rf"in use by another .*pid {os.getpid()}\)"),
        preflight.held(tmp_path),
    ):
        pass

    with preflight.held(tmp_path):
        pass  # the first has gone


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with (
        pytest.raises(StartError, match=r"cannot write to .*file/data: Not a directory"),
        preflight.held(tmp_path / "file" / "data"),
    ):
        pass


def test_a_port_in_use_is_told_with_its_node(config_path, tmp_path):
    config = load(config_path)
    taken = config.member("n2").peer_port
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", taken))
        squatter.listen()

        with pytest.raises(StartError) as caught:
            preflight.check(config, tmp_path)

    assert str(caught.value).startswith(f"n2: peer_port {taken} in use on 127.0.0.1; ")
    preflight.check(config, tmp_path)


def test_an_address_of_another_machine_cannot_be_bound(tmp_path):
    config = parse({"cluster": "c", "host": "192.0.2.1", "members": list(NAMES)})

    with pytest.raises(StartError) as caught:
        preflight.check(config, tmp_path)

    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == list(NAMES)
    assert "all members run on this machine" in lines[0]


def test_a_member_whose_folder_is_a_file_is_told_with_the_rest(config_path, tmp_path):
    (tmp_path / "n3").write_text("in the way")

    with pytest.raises(StartError, match="n3: cannot write to"):
        preflight.check(load(config_path), tmp_path)


def test_a_folder_made_for_a_cluster_that_never_started_is_removed_again(tmp_path):
    with pytest.raises(StartError), preflight.held(tmp_path / "data"):
        raise StartError("a port is in use")

    assert not (tmp_path / "data").exists()


def test_a_fresh_start_removes_the_nodes_folders_and_nothing_else(config_path, tmp_path):
    ours = ("n1/data/x", "n1/log.jsonl", "n1/log.jsonl.1", "n1/pid", "n9/cluster.yaml", "n9/pid")
    for path in (*ours, "other/precious"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    preflight.remove(load(config_path), tmp_path)

    assert not (tmp_path / "n1").exists()
    assert not (tmp_path / "n9").exists()
    assert (tmp_path / "other" / "precious").exists()


def test_a_fresh_start_removes_nothing_if_a_folder_holds_what_no_node_wrote(config_path, tmp_path):
    for path in ("n1/pid", "n2/thesis.tex"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()

    with pytest.raises(StartError, match="n2 does not look like a node's folder"):
        preflight.remove(load(config_path), tmp_path)

    assert (tmp_path / "n1" / "pid").exists()
    assert (tmp_path / "n2" / "thesis.tex").exists()
