"""What the check of ports says before a node binds them."""

from toystore.net import listening


def test_a_port_that_connections_going_out_may_take_is_warned_of(tmp_path, monkeypatch):
    said = tmp_path / "range"
    said.write_text("32768\t60999\n")
    monkeypatch.setattr(listening, "EPHEMERAL", said)

    assert listening.ephemeral([7400, 32767, 61000]) is None
    warning = listening.ephemeral([7400, 40001, 40000])

    assert warning is not None
    assert warning.startswith("port 40000, 40001: ")
    assert warning.endswith("choose ports below 32768")


def test_a_system_that_does_not_tell_its_range_is_no_cause_for_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "EPHEMERAL", tmp_path / "there is none")

    assert listening.ephemeral([40000]) is None
