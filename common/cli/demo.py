"""`demo`: the samples that come with the package, read by the models that ship, and a picture of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from carousel.common.cli.failures import Failures
from carousel.common.cli.streams import show
from carousel.common.errors import InputError


def demo(samples: Sequence[Path], see: Callable[[Path, Path], str], output: Path) -> int:
    """Prints what each sample says and what was read; returns the exit status.

    see(sample, picture): reads the sample, draws the picture (output/demo-STEM.png) and returns the text.
    """
    if not samples:
        raise InputError("this installation has no samples; install the package anew")
    output.mkdir(parents=True, exist_ok=True)
    failures = Failures()
    for sample in samples:
        picture = output / f"demo-{sample.stem}.png"
        try:
            text, said = see(sample, picture), truth(sample)
        except Exception as error:
            failures.add(str(sample), error)
            continue
        show(str(sample))
        if said is not None:
            show(f"  says:    {said}")
        show(f"  read as: {text}")
        show(f"  picture: {picture}")
    return failures.status


def truth(sample: Path) -> str | None:
    """What a sample says: "text" in STEM.json (the sample itself, or beside it), or else STEM.gt.txt."""
    beside, line = sample.with_suffix(".json"), sample.with_suffix(".gt.txt")
    if beside.is_file():
        text: str | None = json.loads(beside.read_text(encoding="utf-8-sig")).get("text")
        return text
    return line.read_text(encoding="utf-8-sig").strip() if line.is_file() else None
