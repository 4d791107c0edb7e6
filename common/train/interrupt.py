"""Ctrl-C in a training: what is done so far is kept."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred(alone: bool) -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT only makes what is yielded true; a second one interrupts as ever.

    alone: whether this is the only process of the training; one of several must not stop by itself.
    """
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if not (alone and ours):
        yield asked.is_set
        return

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        asked.set()

    signal.signal(signal.SIGINT, once)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
