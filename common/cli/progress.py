"""How far a run is: a line that is written over on a terminal, and one at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from carousel.common.cli import streams
from carousel.common.cli.inputs import Input

OFTEN = 0.2  # s between two lines


class Progress:
    """Counts what is done, in the order of the inputs, each of which may hold several items (pages).

    shown: whether there is a line while it goes on. clock: seconds, for the tests.
    """

    def __init__(
        self, inputs: Sequence[Input], what: str, shown: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.what, self.shown, self.clock = what, shown, clock
        self.begun, self.told = clock(), -OFTEN
        self.numbers = {item.stem: number for number, item in enumerate(inputs, start=1)}
        self.bytes = [0]  # of the first inputs together
        for item in inputs if shown else ():
            self.bytes.append(self.bytes[-1] + _size(item))
        self.files = self.items = 0
        self.sound = 0.0  # s

    def done(self, item: Input, duration: float | None) -> None:
        """One item is written; duration: seconds of sound, if it is that."""
        self.files = self.numbers[item.stem]
        self.items += 1
        self.sound += duration or 0.0
        if self.shown and self.clock() - self.told >= OFTEN:
            self.told = self.clock()
            streams.show_status(self.line())

    def line(self) -> str:
        """As "12 of 40, 3.2 h, 210 × real time, 1:20 left"."""
        elapsed = max(self.clock() - self.begun, 1e-3)
        parts = [f"{self.files} of {len(self.numbers)}"]
        if self.sound:
            parts.append(f"{self.sound / 3600:.1f} h")
        parts.append(self._speed(elapsed))
        if self.bytes[self.files]:
            left = elapsed * (self.bytes[-1] / self.bytes[self.files] - 1)
            parts.append(f"{minutes(left)} left")
        return ", ".join(parts)

    def close(self, told: bool) -> None:
        """Ends the line; told: with one as "40:12 in 8 s, 300 × real time", where anything was done."""
        streams.show_status("")
        if not (told and self.items):
            return
        elapsed = max(self.clock() - self.begun, 1e-3)
        amount = minutes(self.sound) if self.sound else f"{self.items:,} {self.what}"
        took = minutes(elapsed) if elapsed >= 600 else f"{elapsed:.{elapsed < 9.95:d}f} s"
        streams.say(f"{amount} in {took}, {self._speed(elapsed)}", streams.USUAL)

    def _speed(self, elapsed: float) -> str:
        rate = (self.sound or self.items) / elapsed
        number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return f"{number} × real time" if self.sound else f"{number} a second"


def is_shown(to_files: bool) -> bool:
    """On a terminal, and where results do not go there as well."""
    return sys.stderr is not None and sys.stderr.isatty() and (to_files or not sys.stdout.isatty())


def minutes(seconds: float) -> str:
    """As 0:07, 40:12 or 3:00:09."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _size(item: Input) -> int:
    try:
        return item.path.stat().st_size if item.path else 0
    except OSError:
        return 0
