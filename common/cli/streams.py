"""Standard input, output and error: closed, broken or interrupted, and text that is fit for a terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import stat
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Any

from carousel.common.errors import InputError

# What moves the cursor, hides text or turns its direction: C0, C1, line separators, bidirectional overrides.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
INTERRUPTED = b"note: standard input is read to its end; interrupt once more to stop at once\n"

QUIET, USUAL, VERBOSE = range(3)  # how much is told: what fails and what was asked for, notes, how it is done
_talk = USUAL
_status = ""  # what stands in the last line of the terminal, to be written over
_closed: set[str] = set()  # names of standard streams that were closed when the program began
_reading: tuple[Future[bytes], Any] | None = None  # what comes from standard input; SIGINT's handler before


def printable(text: str, keep: str = "") -> str:
    """Text from elsewhere (file names, cards) without power over a terminal, but for the
    control characters in keep."""
    return CONTROL.sub(lambda c: c[0] if c[0] in keep else c[0].encode("unicode_escape").decode(), text)


def say(message: str, least: int = QUIET) -> None:
    """One line on stderr, where at least so much is told. Where nobody can read it, the work goes on."""
    if _talk >= least and sys.stderr is not None:  # print would take stdout
        show_status("")
        try:
            print(printable(message), file=sys.stderr, flush=True)
        except OSError:
            forsake(sys.stderr)


def talk(much: int) -> None:
    """How much is told from now on."""
    global _talk
    _talk = much


def note(message: str) -> None:
    """What a user may want to know of how something was read; not with --quiet."""
    say(f"note: {message}", USUAL)


def detail(message: str) -> None:
    """How something is done, with --verbose."""
    say(message, VERBOSE)


def show_status(text: str) -> None:
    """A line on the terminal at stderr that the next one, or any message, writes over; "" clears it.
    Not with --quiet."""
    global _status
    if text == _status or sys.stderr is None or _talk < USUAL:
        return
    _status = text
    with suppress(OSError):
        width = shutil.get_terminal_size().columns - 1
        print("\r\x1b[K" + text[:width], end="", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Lines for people on stdout."""
    print(printable(text, keep="\n"), flush=True)


def open_streams() -> None:
    """Texts in any script and any file name, in any locale; and closed streams (`>&-`) take their numbers, so
    that no other file gets them: what is written to stdout then fails, and what goes to stderr is dropped."""
    for number, (name, flags) in enumerate(
        (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))
    ):
        if getattr(sys, name) is None:
            _closed.add(name)
            with suppress(OSError):
                os.fstat(number)
                flags = os.O_RDONLY  # somebody has the number already; an output of ours just fails
            file = os.open(os.devnull, flags)
            if name != "stdin":
                setattr(sys, name, os.fdopen(file, "w"))
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def is_closed(name: str) -> bool:
    return name in _closed


def forsake(stream: IO[str]) -> None:
    """Drops what a stream still holds. Python would complain once more when it closes it at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def start_reading() -> None:
    """Reads a pipe at standard input from now on, while models load.

    A recorder before us in the pipe is stopped by Ctrl-C, which goes to us as well: the first one ends
    nothing until what was recorded is here (standard_input), the second one ends the program.
    """
    global _reading
    stop_reading()
    try:
        number = sys.stdin.fileno()
        mode = os.fstat(number).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    future: Future[bytes] = Future()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and before is signal.default_int_handler:

        def once(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, before)
            with suppress(OSError):
                os.write(2, INTERRUPTED)  # print may be at work already

        signal.signal(signal.SIGINT, once)
    _reading = future, before
    threading.Thread(target=_read, args=(number, future), daemon=True).start()


def _read(number: int, future: Future[bytes]) -> None:
    data = bytearray()
    try:
        while block := os.read(number, 1 << 16):
            data += block
        future.set_result(bytes(data))
    except (OSError, MemoryError) as error:
        future.set_exception(error)


def standard_input() -> io.BytesIO:
    """All of standard input, under this name. Raises InputError where it is closed."""
    if sys.stdin is None or is_closed("stdin"):
        raise InputError("standard input: is closed; give it a file or a pipe")
    try:
        data = _reading[0].result() if _reading else sys.stdin.buffer.read()
    finally:
        stop_reading()
    stream = io.BytesIO(data)
    stream.name = "standard input"
    return stream


def stop_reading() -> None:
    """From now on the first SIGINT ends the program."""
    global _reading
    if _reading and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _reading[1])
    _reading = None
