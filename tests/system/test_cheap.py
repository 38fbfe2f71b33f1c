"""What stands in for modules of the standard library does what they do."""

from __future__ import annotations

import hashlib
import os
import selectors

import pytest

from oxy_pg.system import cheap


@pytest.mark.parametrize("data", [b"", b"/a/path", bytes(range(256)) * 100])
def test_sha256_is_that_of_hashlib(data):
    """
    Names that earlier versions have given are found again.
    """
    assert hashlib.sha256(data).hexdigest() == cheap.sha256(data)


def test_sha256_loads_no_openssl(run_python):
    """
    It is there for the time that hashlib takes to import.
    """
    code = (
        "import sys; from oxy_pg.system import cheap; cheap.sha256(b'');"
        "print({'hashlib', '_hashlib'} & set(sys.modules))"
    )

    assert "set()" == run_python(code)


class Recorder:
    """Calls that were made, by name."""

    def __init__(self, selector):
        self.selector = selector
        self.made = []
        self.pipes = {}

    def open(self, name, then=lambda: None):
        reader, writer = os.pipe()
        self.pipes[name] = (reader, writer)

        def call():
            self.made.append(name)
            then()

        self.selector.register(reader, call)

    def close(self):
        for pair in self.pipes.values():
            for descriptor in pair:
                os.close(descriptor)


@pytest.fixture
def recorder():
    made = Recorder(cheap.Selector())
    yield made
    made.close()


def test_calls_for_what_can_be_read(recorder):
    """
    One that has something to read, and none of the others; again as long as it is not read.
    """
    recorder.open("one")
    recorder.open("other")
    os.write(recorder.pipes["other"][1], b"x")

    recorder.selector.wait(0)
    recorder.selector.wait(0)

    assert ["other", "other"] == recorder.made


def test_waits_no_longer_than_told(recorder):
    """
    Nothing to read: nothing is called, and the wait ends.
    """
    recorder.open("one")

    recorder.selector.wait(0.01)

    assert [] == recorder.made


def test_the_end_of_the_other_side_can_be_read():
    """
    As selectors have it: a client that has gone is noticed.
    """
    reader, writer = os.pipe()
    made = []
    selector = cheap.Selector()
    selector.register(reader, lambda: made.append("gone"))
    with selectors.DefaultSelector() as theirs:
        theirs.register(reader, selectors.EVENT_READ)
        os.close(writer)
        selector.wait(1)
        assert len(made) == len(theirs.select(1))
    os.close(reader)


def test_one_that_an_earlier_call_has_unregistered_is_not_called(recorder):
    """
    Both could be read, and the first call has ended the second connection.
    """

    def end_the_others():
        for name, (reader, _) in recorder.pipes.items():
            if name not in recorder.made:
                recorder.selector.unregister(reader)

    recorder.open("one", end_the_others)
    recorder.open("other", end_the_others)
    for _, writer in recorder.pipes.values():
        os.write(writer, b"x")

    recorder.selector.wait(1)

    assert 1 == len(recorder.made)
