"""The phone error rate of a model: python -m carousel.recipes.phones.errors MANIFEST --model M

That is edits over phones of the reference, with a 95 % interval; --fold counts as the 39 classes of Lee &
Hon 1989, whatever was trained.
"""

import sys
from argparse import Namespace

import numpy as np

from carousel.asr.domain import SPEECH
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.data.manifest import read_manifest
from carousel.common.model.catalogue import open_model
from carousel.common.recogniser import recognise
from carousel.common.text.metrics import Report, error_rates
from carousel.recipes.phones import phones_of

OPTIONS = {
    "manifest": {"help": "with texts of phones, as the recipes timit and an4_phones write them"},
    "--model": {
        "required": True,
        "metavar": "M",
        "help": "a model of phones: its file or the folder of its run",
    },
    "--fold": {"action": "store_true", "help": "count as 39 classes"},
    "--beam": {"type": int, "default": 1, "metavar": "N", "help": "width of the beam; 1: greedy (default)"},
}


def prepare(arguments: Namespace) -> None:
    """Raises InputError for a manifest or model that cannot be used."""
    model = open_model(arguments.model, SPEECH.models, (SPEECH.name,))
    samples = list(read_manifest(arguments.manifest))
    features: list[np.ndarray] = [SPEECH.work.read(sample, model.features) for sample in samples]
    how = {"decoder": "beam", "beam": arguments.beam} if arguments.beam > 1 else {"decoder": "greedy"}
    found = recognise(model, features, **how)
    report = phone_errors(
        [(sample.text, nbest[0].text) for sample, nbest in zip(samples, found, strict=True)], arguments.fold
    )
    low, high = report["wer_interval"]
    show(
        f"{len(samples)} utterances, {report['words']['total']} phones: PER {100 * report['wer']:.2f} %"
        f" ({100 * low:.2f} to {100 * high:.2f})"
    )


def phone_errors(pairs: list[tuple[str, str]], fold: bool) -> Report:
    """The report of `error_rates` in which a word is a phone. pairs: texts of phones, reference and read."""
    return error_rates((" ".join(phones_of(one, fold)), " ".join(phones_of(two, fold))) for one, two in pairs)


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
