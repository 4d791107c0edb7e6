"""The command `hwr`: handwriting to text. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from carousel import __version__
from carousel.common.cli import align as align_command
from carousel.common.cli import lm as lm_command
from carousel.common.cli import options as arguments
from carousel.common.cli import prepare as prepare_command
from carousel.common.cli import runner as command
from carousel.common.cli import spot as spot_command
from carousel.common.cli.failures import Failures, guarded
from carousel.common.cli.inputs import Input, Session, expand, session
from carousel.common.text.alphabet import Alphabet
from carousel.hwr import align_command as aligning
from carousel.hwr import spot as spotting
from carousel.hwr.sources import IMAGES, INK, is_ink_xml, read_source, split_pages

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.data.manifest import Sample
    from carousel.common.model.file import Model
    from carousel.hwr.recognise import Line, Prepared

PROGRAM = "hwr"
DOMAINS = ("image", "ink")
FORMATS = ("txt", "json")
MODELS = Path(__file__).parent / "models"
SAMPLES = Path(__file__).parent / "samples"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["train"] and not {"-h", "--help"} & set(words):  # all that follows is Hydra's
        return guarded(partial(_train, words[1:]), PROGRAM)
    args = parser().parse_args(words)
    return guarded(partial(args.run, args), PROGRAM)


def parser() -> argparse.ArgumentParser:
    about = (
        "Handwriting to text: train, recognise, evaluate. What is read is pictures of single lines and pen "
        "strokes; a page has to be cut into lines first."
    )
    whole = arguments.program_parser(PROGRAM, about, __version__)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    prepare_command.add(commands, PROGRAM, DOMAINS)
    arguments.add_train(commands, PROGRAM, DOMAINS, "unipen_words", "htr_lines")
    _add_recognise(commands)
    arguments.add_evaluate(commands, PROGRAM, _evaluate, "test.jsonl", "writer")
    align_command.add(commands, PROGRAM, "line.png", aligning.FORMATS, _align)
    spot_command.add(commands, spotting.kind((*IMAGES, *INK), is_ink_xml, split_pages), _spot)
    lm_command.add(commands, PROGRAM, _alphabet)
    arguments.add_models(commands, PROGRAM, MODELS)
    arguments.add_export(commands, PROGRAM, MODELS, DOMAINS)
    arguments.add_demo(commands, PROGRAM, "recognise the handwriting that comes", _demo)
    return whole


def _add_recognise(commands: arguments.Subparsers) -> None:
    sub = arguments.command_parser(
        commands,
        "recognise",
        "write down what pictures of lines, or pen strokes, say",
        """
        hwr recognise line.png                         the text, to standard output
        hwr recognise word.inkml --format json         words with their boxes
        hwr recognise lines/ --output texts/           one text for each file below a folder
        cat line.png | hwr recognise -                 a picture, or strokes, from standard input
        hwr recognise line.png --format json --nbest 5 the five likeliest texts
        """,
    )
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE|INK|FOLDER|-",
        help="pictures of single lines (any format that Pillow reads; each page or frame of a file counts), "
        "pen strokes (.json, InkML, UNIPEN), folders of them, - for standard input; what a file holds is "
        "told by its suffix, or else by its first bytes",
    )
    arguments.add_model_arguments(
        sub, "default: those for pictures and for strokes that are marked * by `hwr models`"
    )
    arguments.add_decoder_arguments(sub, ("folder", "none"))
    arguments.add_output_arguments(sub, FORMATS)
    sub.set_defaults(run=_recognise)


def _alphabet(choice: str) -> Alphabet:
    from carousel.common.model.catalogue import open_model

    return open_model(choice, MODELS, DOMAINS).alphabet


def _train(words: list[str]) -> int:
    from carousel.common.cli.train import main as train
    from carousel.hwr.features import size
    from carousel.hwr.reader import read

    return train(DOMAINS, words, read, size, MODELS)


def _models(args: argparse.Namespace) -> Callable[[str], Model]:
    """The model for a domain: the one that was asked for, whichever it is, or the default for that domain."""
    from carousel.common.model.catalogue import open_model
    from carousel.hwr.features import size

    @cache
    def model(domain: str) -> Model:
        return open_model(
            args.model, MODELS, DOMAINS if args.model else (domain,), args.device, size, args.precision
        )

    return model if args.model is None else lambda domain: model("any")


def _needed(
    args: argparse.Namespace, models: Callable[[str], Model], paths: Sequence[Path | None]
) -> list[Model]:
    """The models that are sure to be used: the one that was asked for, or those that the suffixes tell."""
    if args.model:
        return [models("any")]
    suffixes = {path.suffix.lower() for path in paths if path is not None}
    return [models(domain) for domain, known in (("image", IMAGES), ("ink", INK)) if suffixes & set(known)]


def _recognise(args: argparse.Namespace) -> int:
    command.decoding(args)  # options that contradict each other are told before anything is loaded
    failures = Failures()
    inputs = expand(args.inputs, (*IMAGES, *INK), "picture or ink", failures, is_ink_xml)
    if not inputs:
        return failures.status
    emit = command.emitter(inputs, args)

    from carousel.common.decoding.rescoring import open_rescorer
    from carousel.hwr.formats import FORMATS as WRITERS
    from carousel.hwr.recognise import by_model, prepare, recognise

    models = _models(args)
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)
    for model in _needed(args, models, [item.path for item in inputs]):
        command.decoding(args, model)  # what cannot be used is told once, not for each input

    def read(item: Input) -> tuple[Model, Prepared, Session]:
        domain, source = read_source(item)
        model = models(domain)
        return model, prepare(source, model.features), session(item, args.session)

    def work(lines: list[tuple[Model, Prepared, Session]]) -> list[tuple[Model, Line]]:
        return by_model(lines, read_lines)

    def read_lines(model: Model, lines: list[tuple[Model, Prepared, Session]]) -> list[tuple[Model, Line]]:
        _, prepared, sessions = zip(*lines, strict=True)
        options = command.decoding(args, model)
        found = recognise(model, prepared, args.batch_frames, rescorer, sessions, **options)
        return [(model, line) for line in found]

    def write(item: Input, found: tuple[Model, Line]) -> None:
        model, line = found
        emit(item, WRITERS[args.format](line, item.name, model.card["name"], item.page))

    command.run(
        split_pages(inputs, failures),
        read,
        work,
        write,
        failures,
        name=lambda item: item.label,
        weigh=lambda source: len(source[1].features),
        budget=args.batch_frames,
    )
    return failures.status


def _evaluate(args: argparse.Namespace) -> int:
    command.decoding(args)

    from carousel.common.cli.evaluate import evaluate
    from carousel.hwr.reader import read

    def choose(first: Sample) -> Model:
        return _models(args)("image" if first.strokes is None else "ink")

    return evaluate(args, choose, read)


def _align(args: argparse.Namespace) -> int:
    return aligning.align(args, (*IMAGES, *INK), read_source, _models(args), is_ink_xml)


def _spot(args: argparse.Namespace) -> int:
    models = _models(args)
    needed = partial(_needed, args, models)
    return spotting.spot(args, (*IMAGES, *INK), read_source, models, needed, is_ink_xml, split_pages)


def _demo(args: argparse.Namespace) -> int:
    from carousel.common.cli.demo import demo
    from carousel.common.decoding import decode
    from carousel.common.plots import draw_activations, draw_ink
    from carousel.common.recogniser import log_probs
    from carousel.hwr.recognise import prepare

    models = _models(args)

    def see(path: Path, picture: Path) -> str:
        domain, source = read_source(Input(str(path), path, path.stem))
        model = models(domain)
        line = prepare(source, model.features)
        (scores,) = log_probs(model, [line.features], args.batch_frames)
        hypothesis = decode(scores, model.alphabet, **model.decoder)[0]
        if model.domain == "ink":
            draw_ink(
                source,
                line.output_places(model.stride),
                scores,
                hypothesis,
                model.alphabet,
                picture,
                title=path.name,
            )
        else:
            image = line.features.T  # (rows, columns), 0 paper … 1 ink
            draw_activations(
                image, scores, hypothesis, model.alphabet, picture, title=path.name, stride=model.stride
            )
        return hypothesis.text

    samples = (
        [path for path in sorted(SAMPLES.iterdir()) if path.suffix in (*IMAGES, *INK)]
        if SAMPLES.is_dir()
        else []
    )
    return demo(samples, see, args.output)


if __name__ == "__main__":
    sys.exit(main())
