"""Exceptions for input that cannot be used, and one sentence for any exception."""

import re
import traceback
from pathlib import Path

DEBUG = "CAROUSEL_DEBUG"  # environment variable: show tracebacks
# what torch says, in a RuntimeError
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names the file (or the option), says what is wrong and what to do. The
    command line prints it as it is, without a traceback, and goes on with the other inputs.
    """


class UsageError(InputError):
    """The command line contradicts itself or asks for something that does not exist: exit status 2."""


def sentence(error: BaseException) -> str:
    """What an exception says, on one line."""
    said = " ".join(str(error).split())
    if isinstance(error, InputError):
        return said
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(said)):
        return "does not fit into memory"
    if isinstance(error, OSError):
        strerror = (error.strerror or "").lower()
        return strerror + (f": {error.filename}" if error.filename else "") if strerror else said
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    detail = f" ({said})" if said else ""
    return (
        f"{type(error).__name__}{place}{detail}: this is a bug in Carousel; please report it with the "
        f"traceback that {DEBUG}=1 shows"
    )


def named(message: str, where: str) -> str:
    """A message that begins with what it is about, once."""
    return message if message.startswith(where) else f"{where}: {message}"


def reason(error: BaseException) -> str:
    """The first line of an exception's message: torch adds its stack."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
