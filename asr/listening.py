"""How commands read recordings: what a user should know of one goes to stderr, and into the exit status."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from carousel.common.cli.failures import Failures
from carousel.common.cli.streams import say
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.asr.sound.read import Recording
    from carousel.common.files import Source


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-truncated",
        action="store_true",
        help="recordings that end too early are read and named, and do not count as failed "
        "(default: they are read and named, and the exit status is 1)",
    )


def listen(name: str, source: Source, rate: int, args: argparse.Namespace, failures: Failures) -> Recording:
    """As asr.sound.read.read_recording; notes and truncation are told, the latter
    as a failure if not allowed."""
    from carousel.asr.sound.read import read_recording

    recording = read_recording(source, rate)
    for note in recording.notes:
        say(f"note: {name}: {note}")
    if recording.fault and args.allow_truncated:
        say(f"note: {name}: {recording.fault}, which are read")
    elif recording.fault:
        advice = "copy it again, or accept it with --allow-truncated"
        failures.add(name, InputError(f"{recording.fault}, which are read; {advice}"))
    return recording
