"""What run folders hold, side by side: their settings where they differ, how far they are, and how good."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from carousel.common.errors import InputError
from carousel.common.train.recipe import read_settings
from carousel.common.train.runs import CONFIG, LOCK

METRICS = "metrics.csv"
TIMES = ("epoch", "step")  # what a row of metrics.csv is of
MEASURES = ("valid_cer", "valid_perplexity", "perplexity")  # what is least in the best row
UNTOLD = ("name", "resume", "data", "card")  # settings that differ from run to run and say nothing


class Run(NamedTuple):
    folder: Path
    settings: dict[str, Any]  # key.key -> value
    rows: list[dict[str, float]]  # of metrics.csv
    running: bool

    @property
    def measure(self) -> str | None:
        return next((m for m in MEASURES if any(m in row for row in self.rows)), None)

    @property
    def best(self) -> dict[str, float]:
        """The row with the least of `measure`; the last one where there is none."""
        measure = self.measure
        if measure is None:
            return self.rows[-1] if self.rows else {}
        return min((row for row in self.rows if measure in row), key=lambda row: row[measure])


def find(folders: Sequence[Path]) -> Iterator[Path]:
    """The run folders that are given, or lie below one that is. Raises InputError for one without any."""
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; give run folders, or a folder of them")
        found = sorted(path.parent for path in folder.rglob(CONFIG))
        if not found:
            raise InputError(f"{folder}: holds no run, which is a folder with a {CONFIG}")
        yield from found


def read(folder: Path) -> Run:
    """Raises InputError for files of a run that cannot be read."""
    rows: list[dict[str, float]] = []
    if (folder / METRICS).is_file():
        try:
            with (folder / METRICS).open(encoding="utf-8", newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{folder / METRICS}: cannot be read ({error})") from error
    return Run(folder, dict(_flat(read_settings(folder / CONFIG))), rows, _is_running(folder))


def _is_running(folder: Path) -> bool:
    """Whether a training holds the folder; one that was killed leaves its file of the lock."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that we may not write to
        return False


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings that are not the same in all runs, those apart that differ anyway."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    told = [key for key in keys if key.split(".")[0] not in UNTOLD]
    return [key for key in told if len({repr(run.settings.get(key)) for run in runs}) > 1]


def table(runs: Sequence[Run], keys: Sequence[str]) -> list[dict[str, Any]]:
    """A line for each run, the best first: its folder, what was reached, and the settings of `keys`."""
    lines = []
    for run in sorted(runs, key=lambda run: (run.measure is None, run.best.get(run.measure or "", 0.0))):
        last, best = (run.rows[-1] if run.rows else {}), run.best
        time = next((t for t in TIMES if t in last and f"trainer.{t}s" in run.settings), TIMES[0])
        lines.append(
            {
                "run": str(run.folder) + " (running)" * run.running,
                time: last.get(time),
                "minutes": last.get("minutes"),
                **{key: best.get(key) for key in (*MEASURES, "valid_wer") if key in best},
                "best": best.get(time),
                "last": last.get(run.measure or ""),
                **{key: run.settings.get(key) for key in keys},
            }
        )
    return lines
