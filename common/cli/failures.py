"""What goes wrong: inputs that fail while the others go on, sentences for people, and the exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from carousel.common.cli import streams
from carousel.common.cli.streams import say
from carousel.common.errors import DEBUG, UsageError, named, sentence

DONE, FAILED, USAGE = 0, 1, 2  # exit status
INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell counts signals


class Failures:
    """Inputs that could not be used: each is named on stderr at once, and counted for the exit status."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, name: str, error: BaseException) -> None:
        self.count += 1
        trace(error)
        say(named(sentence(error), name))

    @property
    def status(self) -> int:
        return FAILED if self.count else DONE


def trace(error: BaseException) -> None:
    """The traceback, for those who have asked for it."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)


def guarded(command: Callable[[], int], program: str) -> int:
    """Runs a command; whatever is raised becomes one line on stderr and a status, not a traceback."""
    streams.open_streams()
    try:
        status = command()
    except BrokenPipeError:  # the reader (such as `head`) has gone
        status = BROKEN_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        trace(error)
        say(f"{program}: {sentence(error)}")
        status = USAGE if isinstance(error, UsageError) else FAILED
    finally:
        streams.stop_reading()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = BROKEN_PIPE
    except OSError as error:
        say(f"{program}: standard output cannot be written ({sentence(error)})")
        status = status or FAILED
    else:
        return status
    streams.forsake(sys.stdout)
    return status
