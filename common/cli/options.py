"""The options that `asr` and `hwr` share, each with its default in --help. Nothing heavy is imported."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

Command = Callable[[argparse.Namespace], int]  # returns the exit status

SESSIONS = "the files of one folder in their order, the pieces of one file, or none"
DECODERS = (
    "greedy",
    "beam",
    "pyctcdecode",
)  # of carousel.common.decoding, whose import would slow --help down
PRECISIONS = ("auto", "fp32", "bf16")
IGNORABLE = ("case", "punctuation")  # of common.text.metrics.without
BATCH_FRAMES = 20_000  # as in common.recogniser


def number(
    least: float = -math.inf, most: float = math.inf, kind: Callable[[str], float] = float
) -> Callable[[str], float]:
    """argparse type: a finite number (kind: float or int) between least and most."""
    bounds = [f" of at least {least:g}"] * (least > -math.inf) + [f" of at most {most:g}"] * (most < math.inf)
    what = f"{'whole ' * (kind is int)}number{' and'.join(bounds)}"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (-math.inf < value < math.inf and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")
        return value

    return read


count = number(
    1, 10**9, int
)  # more than any computer holds, and less than what the compiled search counts to


def ignorable(text: str) -> list[str]:
    """argparse type: what `evaluate --ignore` leaves out of account, parted by commas."""
    kinds = [kind.strip() for kind in text.split(",")]
    if not set(kinds) <= set(IGNORABLE):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(IGNORABLE)}, nor several of them")
    return list(dict.fromkeys(kinds))


def language_model(text: str) -> Path:
    """argparse type: the file of a language model, or the one that `train` left in the folder of a run."""
    path = Path(text)
    return path / "best.safetensors" if path.is_dir() else path


class Parser(argparse.ArgumentParser):
    """Tells of an unknown option with the usage of the subcommand that it was given to, and a near name."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            near = [
                f"{word} (did you mean {match}?)"
                for word in rest
                for match in difflib.get_close_matches(word.partition("=")[0], known, 1)
            ]
            self.error(f"unrecognized arguments: {' '.join(near or rest)}")
        return found, rest


def program_parser(name: str, purpose: str, version: str) -> argparse.ArgumentParser:
    whole = Parser(
        name,
        description=purpose,
        epilog=f"{name} COMMAND --help tells the options of a command. "
        "Exit status: 0 all done, 1 some inputs failed (each is named on stderr, the others are done), "
        "2 wrong usage.",
    )
    whole.add_argument("--version", action="version", version=f"{name} {version}")
    return whole


def command_parser(commands: Subparsers, name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    """A subcommand with its purpose above its options and examples below."""
    return commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog="examples:\n" + "\n".join("  " + line.strip() for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--model",
        metavar="M",
        help="a model file (.safetensors, or .onnx as `export` makes it), the folder of a training run, or "
        f"the name of a model that ships ({default})",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the network runs (default: auto, the GPU if there is one)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the products in the network; log-probabilities and search are float32 (default: auto, bf16 "
        "where the machine multiplies it faster, else fp32; an .onnx has its own, so there is only auto)",
    )
    parser.add_argument(
        "--batch-frames",
        type=count,
        default=BATCH_FRAMES,
        metavar="N",
        help=f"frames that go through the network at once; fewer take less memory (default: {BATCH_FRAMES})",
    )


def add_decoder_arguments(
    parser: argparse.ArgumentParser, session: tuple[str, ...] | None = None, nbest: bool = True
) -> None:
    """session: what --session may be, the default first; None: any key of a manifest."""
    parser.add_argument(
        "--decoder",
        choices=DECODERS,
        help="how text is found in the network's output (default: the model's own choice, "
        "or beam when --beam or --nbest is given)",
    )
    parser.add_argument(
        "--beam",
        type=count,
        metavar="N",
        help="hypotheses that beam search keeps (default: the model's or decoder's)",
    )
    parser.add_argument(
        "--lm",
        type=Path,
        metavar="FILE",
        help="language model for beam search: as `lm` makes it, ARPA (also gzipped), or KenLM's binary",
    )
    parser.add_argument(
        "--lm-unit",
        choices=("words", "characters"),
        help="what that counts (default: what its file says or its tokens look like; those of spelled "
        "letters can look like characters)",
    )
    parser.add_argument(
        "--lexicon", type=Path, metavar="FILE", help="write only the words of this file (one a line)"
    )
    parser.add_argument(
        "--unlisted",
        type=number(-1000, 0),
        metavar="X",
        help="with --lexicon: write other words too, those of six letters at this cost in natural logs and "
        "others in proportion to their letters, at most 0 (default: only those that are listed)",
    )
    parser.add_argument(
        "--grammar",
        type=Path,
        metavar="FILE",
        help="write only the sentences of this file: one a line, or a JSGF grammar (its weights are ignored)",
    )
    parser.add_argument(
        "--hotwords",
        type=Path,
        metavar="FILE",
        help="raise the words and phrases of this file: one a line, with a tab and a weight of its own "
        "if wanted; # begins a comment",
    )
    parser.add_argument(
        "--hotword-weight",
        type=number(-100, 30),
        metavar="W",
        help="what each hotword without a weight adds wherever it stands whole, natural log, -100 to 30 "
        "(default: 3)",
    )
    for name, kind, what in (
        (
            "--lm-weight",
            number(0, 20),
            "of the language model's natural logs (default: what was tuned, or 0.5)",
        ),
        (
            "--bonus",
            number(-20, 20),
            "added for each token of the language model (default: what was tuned, or 0)",
        ),
        (
            "--unknown",
            number(-1000, 0),
            "added for a word of six letters that the language model does not have, and for others in "
            "proportion to their letters; at most 0 (default: what was tuned, or -5)",
        ),
    ):
        parser.add_argument(name, type=kind, metavar="X", help=what)
    parser.add_argument(
        "--rescore",
        type=language_model,
        metavar="FILE",
        help="LSTM language model that chooses among the beam's texts: what `train recipe=language` makes, "
        "or the folder of its run",
    )
    for name, kind, what in (
        ("--rescore-weight", number(0), "of that model's natural logs (default: what was tuned, or 0.5)"),
        ("--rescore-bonus", number(), "added for each token of that model (default: what was tuned, or 0)"),
    ):
        parser.add_argument(name, type=kind, metavar="X", help=what)
    parser.add_argument(
        "--session",
        choices=session,
        metavar=None if session else "KEY",
        help="over what that model remembers the texts before: "
        + (
            f"{SESSIONS} (default: {session[0]})"
            if session
            else "samples with one value of this key of the manifest, or none (default: speaker or writer)"
        ),
    )
    if nbest:
        parser.add_argument(
            "--nbest",
            type=count,
            default=1,
            metavar="N",
            help="texts to give for each input, the best first; with --format json (default: 1). With a "
            "language model more texts are kept apart then, so the first can, rarely, be another than for 1",
        )


def add_output_arguments(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    parser.add_argument(
        "--format", choices=tuple(formats), default=formats[0], help=f"what to write (default: {formats[0]})"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write one file for each input into this folder (default: everything to standard output)",
    )


def add_train(commands: Subparsers, program: str, domains: Collection[str], *examples: str) -> None:
    """Only for --help: `train` hands all its arguments to Hydra before they are parsed here."""
    from carousel.common.train.recipe import recipes

    parser = command_parser(
        commands,
        "train",
        "train a model by a recipe",
        f"""
        {program} train recipe={examples[0]}
        {program} train recipe={examples[1]} network.hidden=320 trainer.epochs=30
        {program} train recipe=path/to/mine          a folder with a recipe.yaml
        {program} train recipe={examples[0]} -m seed=1,2,3    three runs
        {program} train name={examples[0]} resume=true        go on after a stop, whatever stopped it
        {program} train recipe={examples[0]} init=MODEL       start from a model, its network and symbols
        {program} train recipe={examples[0]} --cfg job        print the settings, train nothing
        """,
    )
    brief = parser.format_help

    def whole_help() -> str:
        from carousel.common.settings.training import described_settings

        return f"{brief()}\n{described_settings()}\n"

    parser.format_help = whole_help  # type: ignore[method-assign]
    parser.add_argument(
        "recipe",
        metavar="recipe=NAME|FOLDER",
        help=f"one of {', '.join(recipes(domains))}; or a folder with a recipe.yaml",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="another value for a setting, such as seed=2; GROUP=NAME takes another file of a group, "
        "such as optimizer=sgd; +KEY=VALUE adds a key, ~KEY takes one out",
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for each of the values a,b,c")
    parser.add_argument("--cfg", metavar="job", help="print the settings that a training would have")
    parser.add_argument("--hydra-help", action="store_true", help="tell the other options, those of Hydra")


def add_evaluate(commands: Subparsers, program: str, function: Command, manifest: str, key: str) -> None:
    parser = command_parser(
        commands,
        "evaluate",
        "measure the error rates of a model on manifests",
        f"""
        {program} evaluate {manifest}
        {program} evaluate {manifest} --model runs/mine --decoder beam --json
        {program} evaluate {manifest} --by {key} --output hypotheses.tsv
        {program} evaluate {manifest} --ignore case,punctuation
        """,
    )
    parser.add_argument(
        "manifests", nargs="+", type=Path, metavar="MANIFEST", help="a .jsonl or .jsonl.gz of samples"
    )
    add_model_arguments(parser, f"default: the one that is marked * by `{program} models`")
    add_decoder_arguments(parser, nbest=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--ignore",
        type=ignorable,
        default=[],
        metavar="KINDS",
        help="do not count errors of case, of punctuation (dashes and slashes part words), or of both: "
        f"{','.join(IGNORABLE)}",
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="find the weight and bonus of the fewest errors for --lm, or for --rescore after an --lm that "
        "was tuned before, and keep them in its file (take a valid set, never the test)",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the confidences to how often they are right, as `train` does, and keep the fit in the "
        "file of --model if it is better on samples that it was not fitted on; it needs 20 or more (take a "
        "valid set, and decode as you will later)",
    )
    parser.add_argument(
        "--reliability",
        type=Path,
        metavar="FILE",
        help="draw how right what is read is, by how sure it is (.png)",
    )
    parser.add_argument(
        "--by",
        action="append",
        metavar="KEY",
        help=f"rates apart for each value of a key of the manifest, such as {key}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write reference and hypothesis of each sample, as .jsonl or .tsv",
    )
    parser.set_defaults(run=function)


def add_models(commands: Subparsers, program: str, shipped: Path) -> None:
    parser = command_parser(
        commands,
        "models",
        "list the models that ship, and those of given folders, language models too",
        f"""
        {program} models
        {program} models runs/mine --json
        """,
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER|FILE", help="model files, or folders of them, to list too"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")

    def run_models(args: argparse.Namespace) -> int:
        from carousel.common.cli.models import list_models

        return list_models(shipped, args.folders, args.json)

    parser.set_defaults(run=run_models)


def add_export(commands: Subparsers, program: str, shipped: Path, domains: Sequence[str]) -> None:
    parser = command_parser(
        commands,
        "export",
        "write a model as an ONNX file",
        f"""
        {program} export runs/mine mine.onnx
        {program} evaluate test.jsonl --model mine.onnx
        """,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, the folder of a training run, or a model that ships"
    )
    parser.add_argument("file", metavar="FILE.onnx", type=Path, help="what to write")

    def run_export(args: argparse.Namespace) -> int:
        from carousel.common.cli.models import export_model

        return export_model(args.model, args.file, shipped, domains)

    parser.set_defaults(run=run_export)


def add_demo(commands: Subparsers, program: str, purpose: str, function: Command) -> None:
    parser = command_parser(
        commands,
        "demo",
        f"{purpose} with the package, and draw what the network saw",
        f"""
        {program} demo
        {program} demo --output pictures
        """,
    )
    add_model_arguments(parser, f"default: those that are marked * by `{program} models`")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="folder of the pictures (default: demo)",
    )
    parser.set_defaults(run=function)
