"""Standard streams, and text on its way to a terminal; among processes: tests/asr/test_runner.py."""

import io
import os
import signal
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.cli import streams
from carousel.common.errors import InputError


@given(st.text())
def test_what_is_printable_has_no_control_characters_and_else_is_as_it_was(text):
    shown = streams.printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert shown == "".join(
        c if not streams.CONTROL.match(c) else c.encode("unicode_escape").decode() for c in text
    )
    assert streams.printable(shown) == shown


def test_letters_of_all_scripts_and_file_names_of_any_bytes_stay():
    for text in ("äöü नमस्ते شكرا 你好", "क\u200dष", os.fsdecode(b"caf\xe9"), r"a\x1b"):
        assert streams.printable(text) == text
    assert streams.printable("a\tb\n", keep="\n") == "a\\tb\n"


def test_what_is_said_is_one_line_without_escapes(capsys):
    streams.say("a\x1b[31m.wav: is\nbroken")
    assert capsys.readouterr().err == "a\\x1b[31m.wav: is\\nbroken\n"


def test_what_cannot_be_said_stops_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    streams.say("unheard")
    assert capsys.readouterr().out == ""


@pytest.fixture
def pipe(monkeypatch):
    """Standard input is a pipe; what is yielded writes to it."""
    reader, writer = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reader))
    yield os.fdopen(writer, "wb", buffering=0)
    streams.stop_reading()


def test_a_pipe_is_read_before_it_is_asked_for(pipe):
    """More than a pipe holds, so that the one who writes does not wait for the models."""
    streams.start_reading()
    pipe.write(b"x" * 1_000_000)  # would wait for ever
    pipe.write(b"y")
    pipe.close()
    found = streams.standard_input()
    assert (found.name, found.read()) == ("standard input", b"x" * 1_000_000 + b"y")


def test_the_first_interrupt_waits_for_the_end_and_handlers_are_put_back(pipe, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(os, "write", lambda *_: 0)  # of the note
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        streams.start_reading()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        threading.Timer(0.2, lambda: (pipe.write(b"end"), pipe.close())).start()
        assert streams.standard_input().read() == b"end"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_file_at_standard_input_is_left_until_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"data")
    before = signal.getsignal(signal.SIGINT)
    with open(tmp_path / "a") as file:
        monkeypatch.setattr(sys, "stdin", file)
        streams.start_reading()
        assert signal.getsignal(signal.SIGINT) is before
        assert streams.standard_input().read() == b"data"


def test_closed_standard_input_is_an_input_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    streams.start_reading()
    with pytest.raises(InputError, match="is closed"):
        streams.standard_input()
    assert isinstance(sys.stdout, io.TextIOBase)
