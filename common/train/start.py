"""What a training starts from: symbols and weights of another model (`init`) or of its checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import torch

from carousel.common.errors import InputError
from carousel.common.model.file import Model
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.runs import LAST

TEXTS = "texts"  # as `alphabet`: the symbols of the texts alone, whatever the model of `init` has


def choose_alphabet(
    given: str | list[str] | None, texts: Sequence[str], before: Alphabet | None, resume: bool
) -> Alphabet:
    """The symbols of a network that is trained on `texts`.

    given: the setting `alphabet`; before: of the model that the training begins with or, with `resume`, of
    its checkpoint. A model's symbols keep their order, and those of the texts follow.
    Raises InputError where the checkpoint cannot write what is now given.
    """
    if given and given != TEXTS:
        chosen = Alphabet(list(given))
    else:
        chosen = Alphabet.from_texts(texts)
        if before and (resume or not given):
            chosen = Alphabet([*before.symbols, *(c for c in chosen.symbols if c not in before.symbols)])
    if resume and chosen != before:
        raise InputError(
            f"{LAST}: has another alphabet than the settings or the training texts now have; resume with "
            "those it was started with"
        )
    return chosen


def take_over(network: Network, alphabet: Alphabet, model: Model, path: str | Path) -> str:
    """Starts `network` from a model: weights where name and shape agree, output rows by their symbol.

    Returns what was taken, for the log. path: of the model, for messages.
    Raises InputError where less than a quarter of the tensors fit: that would be no start from it.
    """
    theirs, ours = model.network.state_dict(), network.state_dict()
    known = {symbol: row for row, symbol in enumerate(model.alphabet.symbols, start=1)}
    rows = {0: 0} | {row: known[s] for row, s in enumerate(alphabet.symbols, start=1) if s in known}

    same_width = theirs["head.weight"].shape[1] == ours["head.weight"].shape[1]

    def fits(name: str, tensor: torch.Tensor) -> bool:
        if name.startswith("head."):  # rows of symbols are taken one by one
            return same_width
        return name in theirs and theirs[name].shape == tensor.shape

    taken = [name for name, tensor in ours.items() if fits(name, tensor)]
    check_taken(path, len(taken), len(ours))
    for name in taken:
        if name.startswith("head."):
            ours[name][list(rows)] = theirs[name][list(rows.values())]
        else:
            ours[name].copy_(theirs[name])
    network.load_state_dict(ours)
    return f"{len(taken)} of {len(ours)} tensors, {len(rows) - 1} of {len(alphabet.symbols)} symbols"


def check_taken(path: str | Path, taken: int, tensors: int) -> None:
    """Raises InputError where `init` would take over few tensors, and so be no start from that model."""
    if 4 * taken < tensors:
        raise InputError(
            f"init={path}: only {taken} of {tensors} tensors fit, as that model has another network; leave "
            "out what changes network and features, which `train` takes from the model, or leave out init"
        )
