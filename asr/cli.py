"""The command `asr`: speech to text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from carousel.asr.domain import SPEECH
from carousel.asr.formats import FORMATS
from carousel.common.cli import main as command
from carousel.common.cli.program import Live, Program

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.cli.inputs import Input
    from carousel.common.domain import Transcript
    from carousel.common.model.file import Model


def draw(transcript: Transcript, item: Input, path: Path) -> None:
    from carousel.asr.plot import draw_recording

    draw_recording(transcript, item, path)


def reader(model: Model, decoding: Mapping[str, Any], delay: float) -> Any:
    from carousel.asr.live import Live as Reader

    return Reader(model, decoding, delay)


def stream(file: IO[bytes], rate: int, name: str) -> Iterator[np.ndarray]:
    from carousel.asr.stream import wav_blocks

    return wav_blocks(file, rate, name)


def microphone(rate: int) -> Iterator[np.ndarray]:
    from carousel.asr.stream import microphone as recorded

    return recorded(rate)


PROGRAM = Program(
    name="asr",
    purpose="Speech to text: train, transcribe, evaluate.",
    domains=(SPEECH,),
    formats=FORMATS,
    verb="transcribe",
    does="write down what is said in recordings",
    examples="""
        asr transcribe talk.wav                          the text, to standard output
        asr transcribe talk.mp3 --format srt > talk.srt  subtitles
        asr transcribe recordings/ --output texts/       one text for each file below a folder
        sox -d -t wav - | asr transcribe -               a recording from standard input
        asr transcribe a.wav --format json --nbest 5     words with times, and the five likeliest texts
        asr transcribe a.wav --plot a.png                and a picture of where each word is said
    """,
    takes=(
        "FILE|FOLDER|-",
        "recordings (wav, flac, mp3, ogg, opus …; any rate, any channels), folders of them, "
        "- for standard input",
    ),
    input="recording",
    inputs="recordings",
    example="call.wav",
    recipes=("an4", "fsdd"),
    group="speaker",
    sessions=("folder", "file", "none"),
    unit="hour",
    part="minutes",
    parts=60,
    demo="transcribe the recordings that come",
    is_sound=True,
    draw=draw,
    live=Live(reader, stream, microphone),
    draws="the words where they are said, over a spectrogram, the paler the less sure",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    return command.main(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
