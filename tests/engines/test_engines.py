"""The engines: verbs against a plain oracle, and LMDB against kills and bad disks."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toystore.engines import EngineError, MapFullError, StoreFullError, lmdb_engine, open_engine
from toystore.engines.memory import MemoryEngine

ROOT = os.getuid() == 0
SMALL = 64 * 1024


@pytest.fixture(params=["memory", "async", "sync"])
def engine(request, tmp_path):
    engine = open_engine(request.param, tmp_path / "data")
    yield engine
    engine.close()


def commit(engine, pairs):
    engine.begin()
    for key, value in pairs.items():
        engine.put(key, value)
    engine.commit()


def content(engine):
    engine.begin()
    pairs = dict(engine.scan(b""))
    engine.abort()
    return pairs


# --- both engines -----------------------------------------------------------------------

keys = st.binary(min_size=1, max_size=3).map(lambda key: bytes(byte % 4 for byte in key))
steps = st.one_of(
    st.tuples(st.just("put"), keys, st.binary(max_size=4)),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("scan"), keys | st.just(b""), keys | st.just(b"")),
    st.tuples(st.sampled_from(["commit", "abort"])),
)


def play(engine, script):
    """Do each step on the engine and on a plain dictionary, and compare."""
    kept, now = {}, {}
    engine.begin()
    for verb, *args in script:
        match verb:
            case "put":
                engine.put(*args)
                now[args[0]] = args[1]
            case "delete":
                assert engine.delete(*args) == (now.pop(args[0], None) is not None)
            case "get":
                assert engine.get(*args) == now.get(*args)
            case "scan":
                prefix, start = args
                expected = [
                    pair
                    for pair in sorted(now.items())
                    if pair[0].startswith(prefix) and pair[0] >= prefix + start
                ]
                assert list(engine.scan(prefix, start)) == expected
            case "commit":
                engine.commit()
                kept = dict(now)
                engine.begin()
            case "abort":
                engine.abort()
                now = dict(kept)
                engine.begin()
    engine.abort()
    assert content(engine) == kept
    return kept


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_an_engine_is_an_ordered_map_with_transactions(tmp_path_factory, script):
    play(open_engine("memory", None), script)

    folder = tmp_path_factory.mktemp("data")
    engine = open_engine("async", folder)
    kept = play(engine, script)
    engine.close()
    engine = open_engine("sync", folder)
    assert content(engine) == kept
    engine.close()


def test_a_scan_that_is_not_finished_does_not_stand_in_the_way(engine):
    commit(engine, {b"a1": b"", b"a2": b"", b"b": b""})

    engine.begin()
    assert next(engine.scan(b"a")) == (b"a1", b"")
    assert engine.delete(b"a1")
    assert next(engine.scan(b"a")) == (b"a2", b"")
    engine.commit()

    assert [*content(engine)] == [b"a2", b"b"]


def test_the_size_counts_the_keys_of_the_open_batch_and_what_the_disk_gave(engine):
    commit(engine, {b"a": b"1", b"b": bytes(1_000_000)})

    engine.begin()
    engine.delete(b"a")
    size = engine.size()
    engine.abort()

    assert size.keys == 1
    in_memory = isinstance(engine, MemoryEngine)
    assert size.disk_bytes == 0 if in_memory else 1_000_000 < size.disk_bytes < 10_000_000


def test_aborting_and_closing_twice_do_no_harm(engine):
    engine.abort()
    engine.begin()
    engine.abort()
    engine.abort()
    engine.close()
    engine.close()


def test_the_memory_engine_touches_no_folder(tmp_path):
    commit(open_engine("memory", tmp_path / "data"), {b"k": b"v"})

    assert not (tmp_path / "data").exists()


def test_an_unknown_durability_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'later'; it is sync, async or memory"):
        open_engine("later", tmp_path)


def test_a_key_that_lmdb_cannot_hold_is_the_callers_mistake(tmp_path):
    engine = open_engine("sync", tmp_path)
    engine.begin()

    assert engine.get(bytes(600)) is None
    with pytest.raises(ValueError, match="a key is 1 to 511 bytes"):
        engine.put(bytes(600), b"")

    engine.close()


# --- durability -------------------------------------------------------------------------


@contextmanager
def child(body, *args):
    """A process that runs ``body``, and what it prints; it does not outlive the block."""
    script = "import sys\nfrom pathlib import Path\nfrom toystore.engines import open_engine\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(body), *map(str, args)],
        stdin=subprocess.PIPE,  # so that it can wait for the end of its input
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_what_was_committed_survives_a_kill_and_what_was_not_is_gone(tmp_path, durability):
    body = """
        engine = open_engine(sys.argv[1], Path(sys.argv[2]))
        batch = 0
        while True:
            engine.begin()
            for number in range(10):
                engine.put(b"%d.%d" % (batch, number), b"%d" % batch)
            engine.commit()
            print(batch, flush=True)
            batch += 1
    """
    with child(body, durability, tmp_path) as process:
        committed = 0
        while committed < 30:
            committed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        committed = int((process.stdout.read().split() or [committed])[-1])

    engine = open_engine(durability, tmp_path)

    found = content(engine)
    engine.close()
    assert len(found) % 10 == 0
    assert len(found) // 10 in (committed + 1, committed + 2)
    assert all(found[b"%d.9" % batch] == b"%d" % batch for batch in range(committed + 1))


def test_only_async_commits_wait_for_a_sync_and_only_if_they_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_engine, "_DEAD_S", float("inf"))  # so that nothing else is due
    sync = open_engine("sync", tmp_path / "sync")
    commit(sync, {b"k": b"v"})
    assert sync.due_s() == float("inf")
    sync.close()

    engine = open_engine("async", tmp_path / "async", sync_interval_s=0.0)
    commit(engine, {})
    assert engine.due_s() == float("inf")
    before = time.monotonic()
    commit(engine, {b"k": b"v"})
    due = engine.due_s()
    assert before <= due <= time.monotonic()
    commit(engine, {b"k": b"w"})
    assert engine.due_s() == due
    engine.tend()
    assert engine.due_s() == float("inf")
    engine.close()


def test_a_commit_that_wrote_nothing_leaves_the_file_alone(tmp_path):
    engine = open_engine("sync", tmp_path)
    commit(engine, {b"k": b"v"})
    before = (tmp_path / "data.mdb").read_bytes()

    engine.begin()
    assert engine.get(b"k") == b"v"
    assert not engine.delete(b"missing")
    engine.commit()

    assert (tmp_path / "data.mdb").read_bytes() == before
    engine.close()


# --- room -------------------------------------------------------------------------------


def test_a_full_map_is_grown_and_the_batch_fed_again(tmp_path):
    engine = open_engine("sync", tmp_path, map_bytes=SMALL)
    batch = {b"%04d" % number: bytes(1000) for number in range(200)}
    commit(engine, {b"before": b"v"})

    sizes = []
    while True:
        try:
            commit(engine, batch)
            break
        except MapFullError:
            engine.abort()
            assert [*content(engine)] == [b"before"]
            sizes.append(engine.grow())

    assert sizes == [2 * SMALL, 4 * SMALL, 8 * SMALL][: len(sizes)]
    assert len(sizes) >= 2
    expected = {**batch, b"before": b"v"}
    assert content(engine) == expected
    engine.close()
    engine = open_engine("sync", tmp_path, map_bytes=SMALL)
    assert content(engine) == expected
    engine.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not ROOT or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    yield folder
    # Lazily, so that a test that failed with its engine open leaves no mount behind.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


# LMDB reports a full disk in two ways: as what it is, and as an I/O error if the last
# write went in halfway.  Records of these sizes meet the one and the other.
@pytest.mark.parametrize("value_bytes", [1000, 3000, 100_000])
def test_a_full_disk_is_said_to_be_full_and_loses_nothing_that_was_committed(
    small_disk, value_bytes
):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1024 * 1024))
    engine = open_engine("sync", small_disk / "data")
    committed = {}

    def fill():
        while True:
            number = len(committed)
            batch = {b"%d.%d" % (number, each): bytes(value_bytes) for each in range(4)}
            commit(engine, batch)
            committed.update(batch)

    with pytest.raises(StoreFullError, match="no room to write"):
        fill()
    engine.abort()

    assert content(engine) == committed
    with pytest.raises(StoreFullError):
        commit(engine, {b"late": bytes(200_000)})
    engine.abort()
    filler.unlink()
    commit(engine, {b"late": bytes(200_000)})

    engine.close()
    engine = open_engine("sync", small_disk / "data")
    assert content(engine) == {**committed, b"late": bytes(200_000)}
    engine.close()


@pytest.mark.parametrize("left_bytes", [0, 3000])
def test_an_engine_opens_on_a_full_disk_reads_and_writes_once_there_is_room(small_disk, left_bytes):
    folder, ballast = small_disk / "data", small_disk / "ballast"
    filled(folder)
    fill(ballast, left_bytes)

    for _ in range(2):  # as after a crash and after a clean stop
        engine = open_engine("sync", folder)
        assert len(content(engine)) == 300
        with pytest.raises(StoreFullError):
            commit(engine, {b"more": bytes(10_000)})
        engine.abort()
        assert len(content(engine)) == 300
        engine.close()
    engine = open_engine("sync", folder)
    ballast.unlink()
    commit(engine, {b"more": bytes(10_000)})

    assert len(content(engine)) == 301
    engine.close()


@pytest.mark.parametrize("left_bytes", [0, 4096, 8192, 12_288])
def test_a_full_disk_cannot_be_begun_on_and_nothing_half_begun_is_left(small_disk, left_bytes):
    folder, ballast = small_disk / "data", small_disk / "ballast"
    folder.mkdir()
    fill(ballast, left_bytes)

    refused(folder, "make room|make some")
    ballast.unlink()

    engine = open_engine("sync", folder)
    assert content(engine) == {}
    engine.close()


def test_where_the_map_cannot_be_as_long_as_it_should_it_is_as_long_as_the_file(tmp_path):
    filled(tmp_path)
    length = (tmp_path / "data.mdb").stat().st_size
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, most[1]))
    try:
        engine = open_engine("sync", tmp_path, map_bytes=4 * length)
        held = content(engine)
        with pytest.raises(MapFullError):
            commit(engine, {b"%d" % number: bytes(length // 8) for number in range(8)})
        engine.abort()
        with pytest.raises(StoreFullError):
            engine.grow()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)

    assert len(held) == 300
    engine.close()


def fill(ballast, left_bytes):
    """Leave so many bytes on a disk."""
    reserved = ballast.with_name("reserved")
    reserved.write_bytes(bytes(left_bytes))
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    reserved.unlink()


def test_an_io_error_on_a_disk_with_room_is_fatal(tmp_path, monkeypatch):
    engine = open_engine("sync", tmp_path)

    class Failing:
        def commit(self):
            raise lmdb.Error("mdb_txn_commit: Input/output error")

        def abort(self):
            pass

    engine.begin()
    engine.abort()
    monkeypatch.setattr(engine, "_txn", Failing())

    with pytest.raises(EngineError, match=rf"{tmp_path}/data.mdb failed .*Input/output error"):
        engine.commit()

    engine.close()


# --- those who look on ------------------------------------------------------------------

LOOK_ON = """
    import lmdb
    environment = lmdb.open(sys.argv[1], map_size=1 << 30)
    readers = [environment.begin() for _ in range(int(sys.argv[2]))]
    print("reads", flush=True)
    sys.stdin.read()
"""
"""As mdb_copy does."""


@contextmanager
def looker_on(folder, slots=1):
    with child(LOOK_ON, folder, slots) as process:
        assert process.stdout.readline() == "reads\n"
        yield process


def all_slots(engine):
    return engine._env.info()["max_readers"]


def overwrite(engine, times):
    for _ in range(times):
        commit(engine, {b"%d" % number: os.urandom(4000) for number in range(200)})


def used_bytes(folder):
    return (folder / "data.mdb").stat().st_blocks * 512


def test_a_reader_that_was_killed_does_not_make_the_file_grow(tmp_path):
    engine = open_engine("async", tmp_path)
    overwrite(engine, 5)
    before = used_bytes(tmp_path)
    with looker_on(tmp_path):
        pass

    overwrite(engine, 40)

    assert used_bytes(tmp_path) < 3 * before
    engine.close()


def test_killed_readers_give_their_slots_back_while_nothing_is_written(tmp_path, monkeypatch):
    engine = open_engine("sync", tmp_path)
    with looker_on(tmp_path, all_slots(engine)):
        pass
    with child(LOOK_ON, tmp_path, 1) as process:
        assert process.stdout.readline() == ""  # for want of a slot
    monkeypatch.setattr(engine, "_dead_due_s", time.monotonic())

    engine.tend()

    with looker_on(tmp_path):
        pass
    engine.close()


def test_an_engine_opens_though_killed_readers_left_no_slot_and_one_still_reads(tmp_path):
    engine = open_engine("sync", tmp_path)
    commit(engine, {b"k": b"v"})
    with looker_on(tmp_path):  # who keeps LMDB from making its table again
        with looker_on(tmp_path, all_slots(engine) - 1):
            engine.close()

        engine = open_engine("sync", tmp_path)

        assert content(engine) == {b"k": b"v"}
        assert engine._env.readers().count("\n") == 2  # the heading, and who still reads
        engine.close()


def test_a_reader_that_does_not_come_to_an_end_is_told_of_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_engine, "_DEAD_S", 0.0)
    engine = open_engine("sync", tmp_path)
    with looker_on(tmp_path) as process:
        soon = engine.tend()
        monkeypatch.setattr(lmdb_engine, "_LINGERS_S", 0.0)
        [told], again = engine.tend(), engine.tend()

    assert soon == again == []
    assert (told.name, told.fields["pid"]) == ("reader.lingers", process.pid)
    engine.close()


# --- who may read -----------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_data_is_its_owners_alone_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        open_engine("sync", tmp_path / "made" / "data").close()
    finally:
        os.umask(before)

    folder = tmp_path / "made" / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == dict.fromkeys(("data.mdb", "lock.mdb", "lock"), 0o600)


# --- folders ----------------------------------------------------------------------------


def refused(folder, says):
    """Check that the folder is refused, with its name in the error, and not left locked."""
    for _ in range(2):
        with pytest.raises(EngineError, match=says) as caught:
            open_engine("sync", folder)
        assert str(folder) in str(caught.value)


def test_a_second_process_is_kept_out_until_the_first_has_gone(tmp_path):
    body = """
        engine = open_engine("sync", Path(sys.argv[1]))
        print("open", flush=True)
        sys.stdin.read()
    """
    with child(body, tmp_path) as process:
        assert process.stdout.readline() == "open\n"
        refused(tmp_path, f"is in use by process {process.pid};")

    open_engine("sync", tmp_path).close()


def test_a_second_engine_in_the_same_process_is_kept_out_too(tmp_path):
    engine = open_engine("sync", tmp_path)

    refused(tmp_path, f"in use by process {os.getpid()}")

    engine.close()
    open_engine("sync", tmp_path).close()


def filled(folder):
    """The data file of a closed engine that holds a few hundred records."""
    engine = open_engine("sync", folder)
    commit(engine, {b"%04d" % number: bytes(1000) for number in range(300)})
    engine.close()
    return folder / "data.mdb"


@pytest.mark.parametrize("garbage", [b"x", b"garbage" * 10_000, bytes(100_000)])
def test_a_data_file_that_is_not_lmdbs_is_refused_and_left_as_it_was(tmp_path, garbage):
    data = tmp_path / "data.mdb"
    data.write_bytes(garbage)

    refused(tmp_path, "is not a sound LMDB file")

    assert data.read_bytes() == garbage


@pytest.mark.parametrize("left", [100, 4096, 5000, 8192, 40_000, 300_000])
def test_a_data_file_that_was_cut_off_is_refused(tmp_path, left):
    os.truncate(filled(tmp_path), left)

    refused(tmp_path, "was cut off" if left > 4096 else "is not a sound LMDB file")


def test_a_data_file_whose_last_pages_were_never_written_is_not_taken_for_cut_off(tmp_path):
    # Large values that are replaced within a batch free pages at the end of the file that
    # LMDB counts and never writes.
    engine = open_engine("async", tmp_path)
    for batch in range(60):
        engine.begin()
        for number in range(12):
            key = b"%d" % ((batch * 7 + number * 5) % 9)
            engine.put(key, bytes(1 << (batch + number * 5) % 18))
            if number % 3 == 0:
                engine.delete(key)
        engine.commit()
        expected = content(engine)
        engine.close()
        engine = open_engine("async", tmp_path)
        assert content(engine) == expected
    engine.close()


def test_an_empty_data_file_is_a_fresh_one(tmp_path):
    (tmp_path / "data.mdb").touch()

    engine = open_engine("sync", tmp_path)

    assert content(engine) == {}
    engine.close()


def test_a_folder_of_other_files_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.tex").touch()

    refused(tmp_path, r"holds other files \(thesis.tex\)")

    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "data").touch()

    refused(tmp_path / "data", "is a file")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()

    refused(tmp_path / "file" / "data", "is a file, or in one")


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)

    refused(tmp_path, "cannot be written: Permission denied")

    tmp_path.chmod(0o700)


def test_a_read_only_file_system_is_refused(small_disk):
    open_engine("sync", small_disk / "data").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    refused(small_disk / "data", "cannot be written: Read-only file system")
