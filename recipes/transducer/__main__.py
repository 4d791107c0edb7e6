"""The RNN transducer (Graves 2012), started from a CTC model.

python -m carousel.recipes.transducer train OUTPUT --train TRAIN.jsonl --valid VALID.jsonl
python -m carousel.recipes.transducer evaluate OUTPUT TEST.jsonl
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.options import Parser, count, number
from carousel.common.cli.streams import show

NAME = "transducer"


def parser() -> argparse.ArgumentParser:
    whole = Parser(
        f"python -m carousel.recipes.{NAME}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    train = commands.add_parser("train", help="train a transducer; the best on valid is kept")
    train.add_argument("output", type=Path, metavar="OUTPUT", help="folder for weights and description")
    train.add_argument(
        "--ctc", default="speech", metavar="MODEL", help="a name, a file or the folder of a run"
    )
    train.add_argument("--train", type=Path, nargs="+", required=True, metavar="MANIFEST")
    train.add_argument("--valid", type=Path, required=True, metavar="MANIFEST")
    train.add_argument("--epochs", type=count, metavar="N", help="(default: 30)")
    train.add_argument("--batch", type=count, metavar="FRAMES", help="of features, with padding (6000)")
    train.add_argument("--rate", type=number(0, 1), help="of learning, at its highest (0.002)")
    train.add_argument("--seed", type=count, help="of all that is drawn (1)")
    train.add_argument("--tuned", action="store_true", help="let the encoder learn as well")
    train.add_argument("--as-is", dest="varied", action="store_false", help="do not vary the samples")
    train.set_defaults(run=run_train)
    evaluate = commands.add_parser("evaluate", help="error rates, beside those of the CTC model")
    evaluate.add_argument("folder", type=Path, metavar="FOLDER", help="of a trained transducer")
    evaluate.add_argument("manifest", type=Path, metavar="MANIFEST")
    evaluate.add_argument("--beam", type=count, default=8, metavar="N", help="texts (default: %(default)s)")
    evaluate.add_argument(
        "--most", type=count, default=5, metavar="N", help="labels in a frame, greedy (default: %(default)s)"
    )
    evaluate.set_defaults(run=run_evaluate)
    return whole


def run_train(arguments: argparse.Namespace) -> int:
    from carousel.recipes.transducer.train import Plan, train  # late: torch takes a second

    given = {f.name: getattr(arguments, f.name, None) for f in fields(Plan)}
    plan = Plan(**{name: value for name, value in given.items() if value is not None})
    train(arguments.ctc, arguments.train, arguments.valid, arguments.output, plan)
    return DONE


def run_evaluate(arguments: argparse.Namespace) -> int:
    from carousel.recipes.transducer.model import load
    from carousel.recipes.transducer.train import evaluate

    found = evaluate(*load(arguments.folder), arguments.manifest, arguments.beam, arguments.most)
    for name, rates in found.items():
        sides = (("CER", rates["cer"], rates["cer_interval"]), ("WER", rates["wer"], rates["wer_interval"]))
        told = [f"{side} {rate:.2%} [{low:.1%}, {high:.1%}]" for side, rate, (low, high) in sides]
        show(f"{name:<22}{', '.join(told)}")
    return DONE


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    return guarded(partial(arguments.run, arguments), NAME)


if __name__ == "__main__":
    sys.exit(main())
