"""No decoder crashes, grows without bound or comes to no end, whatever it is given.

decoders.py has the table, and says what each is held to; search.py looks for more.
"""

from __future__ import annotations

import os
import signal

import decoders
import pytest
import search
from decoders import DECODERS, Decoder, FaultError, inputs, judge, kept
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import MSGPACK, mutated

EXAMPLES = settings(max_examples=100, derandomize=True, database=None, deadline=None)
each_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=lambda each: each.name)


@each_decoder
def test_what_the_product_writes_is_read(decoder):
    assert all(judge(decoder, data) for data in decoder.seeds())


@pytest.mark.parametrize(
    ("decoder", "path"),
    [
        pytest.param(decoder, path, id=f"{decoder.name}-{path.name}")
        for decoder in DECODERS
        for path in kept(decoder)
    ],
)
def test_what_was_kept_is_read_or_refused_by_name(decoder, path):
    judge(decoder, path.read_bytes())


@each_decoder
def test_what_is_made_wrong_is_read_or_refused_by_name(decoder):
    pool = st.sampled_from(inputs(decoder))

    @EXAMPLES
    @given(pool, pool, st.randoms(use_true_random=False))
    def is_read_or_refused(one, other, chance):
        judge(decoder, mutated(one, other, decoder.form, chance))

    is_read_or_refused()


def test_every_corpus_is_some_decoders():
    folders = {path.name for path in decoders.CORPUS.iterdir() if path.is_dir()}

    assert folders <= {decoder.name for decoder in DECODERS}


# --- a decoder that does what it may not is caught ---------------------------------------


def without_name(_: bytes) -> None:
    raise KeyError("x")


def without_words(_: bytes) -> None:
    raise ValueError


def without_bound(data: bytes) -> int:
    return len(bytes(len(data) * 2**24))


def without_end(_: bytes) -> None:
    while True:
        pass


def without_depth(data: bytes) -> None:
    without_depth(data)


def against_its_law(_: bytes) -> int:
    return 8


def as_it_should(_: bytes) -> int:
    return 7


def refusing(_: bytes) -> None:
    raise ValueError("no")


def law(read: int) -> None:
    assert read == 7


def decoder_that(read, name="toy"):
    """A decoder that reads everything like ``read``."""
    return Decoder(name, MSGPACK, (ValueError,), read, law, lambda: [b"seed"], 100)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (without_name, "KeyError in test_decoders.py without_name"),
        (without_words, "ValueError that says nothing"),
        (without_bound, "memory"),
        (without_end, "EndlessError in decoders.py _give_up"),
        (without_depth, "RecursionError in test_decoders.py without_depth"),
        (against_its_law, "AssertionError in test_decoders.py law"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_decoder_that_does_what_none_may_is_caught(monkeypatch, read, kind):
    monkeypatch.setattr(decoders, "CPU_S_MAX", 0.05)

    with pytest.raises(FaultError) as caught:
        judge(decoder_that(read), b"input")

    assert caught.value.kind == kind


def test_a_decoder_that_does_as_it_should_is_not():
    assert judge(decoder_that(as_it_should), b"input")
    assert not judge(decoder_that(refusing), b"input")


# --- the search --------------------------------------------------------------------------

BAD = b"!"


def failing_over_bad(data: bytes) -> int:
    if BAD in data:
        raise KeyError(data)
    return 7


def killed_over_bad(data: bytes) -> int:
    if BAD in data:
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


# The threads of other tests' sockets are of no use to the child, which only calls the toy.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("read", [failing_over_bad, killed_over_bad])
def test_the_search_finds_and_keeps_what_a_decoder_cannot_take(monkeypatch, tmp_path, capfd, read):
    monkeypatch.setattr(decoders, "CORPUS", tmp_path)
    monkeypatch.setattr(search, "FAULTS_MAX", 1)
    toy = decoder_that(read)

    assert search.search(toy, 60, seed=7) > 0

    [path] = kept(toy)
    assert BAD in path.read_bytes()
    assert str(path) in capfd.readouterr().out
