"""The command `asr`: speech to text. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel import __version__
from carousel.asr import align_command as aligning
from carousel.asr import listening
from carousel.asr import spot as spotting
from carousel.common.cli import align as align_command
from carousel.common.cli import lm as lm_command
from carousel.common.cli import options as arguments
from carousel.common.cli import prepare as prepare_command
from carousel.common.cli import runner as command
from carousel.common.cli import spot as spot_command
from carousel.common.cli.failures import Failures, guarded
from carousel.common.cli.inputs import Input, Session, expand, session
from carousel.common.cli.streams import say
from carousel.common.text.alphabet import Alphabet

if TYPE_CHECKING:  # loading them brings torch
    import numpy as np

    from carousel.common.data.manifest import Sample

PROGRAM = "asr"
DOMAINS = ("speech",)
FORMATS = ("txt", "json", "srt", "vtt", "tsv", "ctm")
MODELS = Path(__file__).parent / "models"
SAMPLES = Path(__file__).parent / "samples"
SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".wma", ".webm"),
    *(".aif", ".aiff", ".aifc", ".au", ".caf", ".sph", ".w64", ".rf64", ".amr", ".mp2", ".m4b", ".3gp"),
    *(".mkv", ".mka", ".mov", ".avi", ".wv"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["train"] and not {"-h", "--help"} & set(words):  # all that follows is Hydra's
        return guarded(partial(_train, words[1:]), PROGRAM)
    args = parser().parse_args(words)
    return guarded(partial(args.run, args), PROGRAM)


def parser() -> argparse.ArgumentParser:
    whole = arguments.program_parser(PROGRAM, "Speech to text: train, transcribe, evaluate.", __version__)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    prepare_command.add(commands, PROGRAM, DOMAINS)
    arguments.add_train(commands, PROGRAM, DOMAINS, "an4", "fsdd")
    _add_transcribe(commands)
    arguments.add_evaluate(commands, PROGRAM, _evaluate, "test.jsonl", "speaker")
    listening.add_argument(align_command.add(commands, PROGRAM, "call.wav", aligning.FORMATS, _align))
    listening.add_argument(spot_command.add(commands, spotting.kind(SUFFIXES), _spot))
    lm_command.add(commands, PROGRAM, _alphabet)
    arguments.add_models(commands, PROGRAM, MODELS)
    arguments.add_export(commands, PROGRAM, MODELS, DOMAINS)
    arguments.add_demo(commands, PROGRAM, "transcribe the recordings that come", _demo)
    return whole


def _add_transcribe(commands: arguments.Subparsers) -> None:
    sub = arguments.command_parser(
        commands,
        "transcribe",
        "write down what is said in recordings",
        """
        asr transcribe talk.wav                          the text, to standard output
        asr transcribe talk.mp3 --format srt > talk.srt  subtitles
        asr transcribe recordings/ --output texts/       one text for each file below a folder
        sox -d -t wav - | asr transcribe -               a recording from standard input
        asr transcribe a.wav --format json --nbest 5     words with times, and the five likeliest texts
        """,
    )
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE|FOLDER|-",
        help="recordings (wav, flac, mp3, ogg, opus …; any rate, any channels), folders of them, "
        "- for standard input",
    )
    arguments.add_model_arguments(sub, "default: the model for speech that is marked * by `asr models`")
    arguments.add_decoder_arguments(sub, ("folder", "file", "none"))
    arguments.add_output_arguments(sub, FORMATS)
    listening.add_argument(sub)
    sub.set_defaults(run=_transcribe)


def _alphabet(choice: str) -> Alphabet:
    from carousel.common.model.catalogue import open_model

    return open_model(choice, MODELS, DOMAINS).alphabet


def _train(words: list[str]) -> int:
    from carousel.asr.features import size
    from carousel.asr.reader import read
    from carousel.common.cli.train import main as train

    return train(DOMAINS, words, read, size, MODELS)


def _transcribe(args: argparse.Namespace) -> int:
    command.decoding(args)  # options that contradict each other are told before anything is loaded
    failures = Failures()
    inputs = expand(args.inputs, SUFFIXES, "recording", failures)
    if not inputs:
        return failures.status
    emit = command.emitter(inputs, args)

    from carousel.asr.features import size
    from carousel.asr.formats import FORMATS as WRITERS
    from carousel.asr.transcribe import Prepared, Transcript, prepare, transcribe
    from carousel.common.cli.streams import standard_input
    from carousel.common.decoding.rescoring import open_rescorer
    from carousel.common.model.catalogue import open_model

    model = open_model(args.model, MODELS, DOMAINS, args.device, size, args.precision)
    options = command.decoding(args, model)
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)

    def read(item: Input) -> tuple[Prepared, Session]:
        source = standard_input() if item.path is None else item.path
        recording = listening.listen(item.name, source, model.features["sample_rate"], args, failures)
        prepared = prepare(recording.samples, model.features, bool(recording.fault), rests=False)
        if not prepared.frames:
            say(f"note: {item.name}: is silent, so its transcript is empty")
        return prepared, session(item, args.session)

    def work(sources: list[tuple[Prepared, Session]]) -> list[Transcript]:
        recordings, sessions = zip(*sources, strict=True)
        return transcribe(model, recordings, args.batch_frames, rescorer, sessions, **options)

    def write(item: Input, transcript: Transcript) -> None:
        name = item.stem if args.format == "ctm" else item.name
        emit(item, WRITERS[args.format](transcript, name, model.card["name"]))

    command.run(
        inputs,
        read,
        work,
        write,
        failures,
        name=lambda item: item.name,
        weigh=lambda source: source[0].frames,
        budget=args.batch_frames,
    )
    return failures.status


def _evaluate(args: argparse.Namespace) -> int:
    command.decoding(args)

    from carousel.asr.features import size, without_rests
    from carousel.asr.reader import read
    from carousel.common.cli.evaluate import evaluate
    from carousel.common.model.catalogue import open_model

    def as_transcribed(sample: Sample, features: Mapping[str, Any]) -> np.ndarray:
        return without_rests(read(sample, features), features)[0]

    return evaluate(
        args,
        lambda first: open_model(args.model, MODELS, DOMAINS, args.device, size, args.precision),
        as_transcribed,
    )


def _align(args: argparse.Namespace) -> int:
    return aligning.align(args, MODELS, DOMAINS, SUFFIXES)


def _spot(args: argparse.Namespace) -> int:
    return spotting.spot(args, MODELS, DOMAINS, SUFFIXES)


def _demo(args: argparse.Namespace) -> int:
    from carousel.asr.features import size
    from carousel.asr.sound.read import read_audio
    from carousel.asr.transcribe import prepare
    from carousel.common.cli.demo import demo
    from carousel.common.decoding import decode
    from carousel.common.model.catalogue import open_model
    from carousel.common.plots import draw_activations
    from carousel.common.recogniser import log_probs

    model = open_model(args.model, MODELS, DOMAINS, args.device, size, args.precision)

    def hear(path: Path, picture: Path) -> str:
        prepared = prepare(read_audio(path, model.features["sample_rate"]), model.features)
        (scores,) = log_probs(model, prepared.windows, args.batch_frames)  # samples are short: one window
        hypothesis = decode(scores, model.alphabet, **model.decoder)[0]
        draw_activations(
            prepared.windows[0].T,  # (filters, frames)
            scores,
            hypothesis,
            model.alphabet,
            picture,
            title=path.name,
            seconds=model.stride * prepared.step,
            stride=model.stride,
        )
        return hypothesis.text

    return demo(sorted(SAMPLES.glob("*.wav")), hear, args.output)


if __name__ == "__main__":
    sys.exit(main())
