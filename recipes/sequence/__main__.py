"""python -m carousel.recipes.sequence train|apply|make …: sequences of any features.

  … make NAME FOLDER           data made by a published rule: {rules}
  … train task=TASK train=MANIFEST valid=MANIFEST [KEY=VALUE ...]
  … apply MODEL MANIFEST       what the model says, a JSON object a line, and its errors where they are known

Tasks: classify (one class a sequence), label (one a frame), ctc (a string of symbols), forecast (the frames
that come next, and how anomalous each frame is). A manifest holds a JSON object a line with the path of an
.npy file in `features`; recipes/sequence/README.md says what else. Settings are Hydra's:
"""

import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.streams import say, show
from carousel.common.errors import UsageError
from carousel.common.settings.field import described
from carousel.common.settings.training import AdamW
from carousel.recipes.composed import run_composed
from carousel.recipes.sequence.rules import RULES
from carousel.recipes.sequence.settings import Settings

HELP = ("-h", "--help")


def main(argv: Sequence[str]) -> int:
    """The exit status. Raises UsageError for a command line that cannot be used."""
    match argv:
        case [] | [*_, "-h" | "--help"]:
            told = (__doc__ or "").format(rules=", ".join(RULES))
            show("\n".join([told, *described(Settings, "  ")]))
        case ["make", name, folder] if name in RULES:
            from carousel.recipes.sequence.rules import write

            for path in write(name, Path(folder)):
                show(str(path))
        case ["train", *overrides]:
            run_composed("sequence", Settings(), overrides, _train)
        case ["apply", model, manifest]:
            _apply(Path(model), manifest)
        case ["make", *_]:
            raise UsageError(f"make needs a name and a folder; there are {', '.join(RULES)}")
        case _:
            raise UsageError("the first word is train, apply or make; --help tells more")
    return DONE


def _train(given: dict[str, Any], told: Collection[str], folder: Path) -> None:
    from carousel.recipes.sequence.train import train

    settings = Settings(**given | {"optimizer": AdamW(**_pairs(given["optimizer"]))})
    measured = train(settings, folder)
    show(", ".join(f"{key} {value:.4g}" for key, value in measured.items()))
    say(f"{folder}/best.safetensors is the model: python -m carousel.recipes.sequence apply it to a manifest")


def _pairs(given: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _apply(path: Path, manifest: str) -> None:
    """Raises InputError for a model or manifest that cannot be used."""
    import json

    import numpy as np

    from carousel.recipes.sequence.anomaly import scores
    from carousel.recipes.sequence.data import read
    from carousel.recipes.sequence.model import load
    from carousel.recipes.sequence.train import apply, check_sizes, measure

    model = load(path)
    sequences = read(manifest, model.task, model.timed)
    check_sizes(sequences, model)
    for one, said in zip(sequences, apply(sequences, model), strict=True):
        row = {"where": one.where, "says": said.tolist() if isinstance(said, np.ndarray) else said}
        if model.errors is not None:
            found = scores(one, model)
            row["scores"] = [None if np.isnan(score) else round(float(score), 3) for score in found]
        show(json.dumps(row, ensure_ascii=False))
    if model.task == "forecast" or all(one.target is not None for one in sequences):
        measured = measure(sequences, model)
        say(", ".join(f"{key} {value:.4g}" for key, value in measured.items()))


if __name__ == "__main__":
    sys.exit(guarded(partial(main, sys.argv[1:]), "sequence"))
