"""What a training starts from: symbols and weights of another model (`init`) or of its checkpoint."""

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from carousel.common.errors import InputError
from carousel.common.model.file import Model
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.runs import LAST

log = logging.getLogger(__name__)

# as `alphabet`: the symbols of the texts alone, whatever the model of `init` has (texts is an older name);
# those of the model, then those of the texts; those of the model alone
NEW, UNION, FIXED = ("new", "texts"), "union", "fixed"


def choose_alphabet(
    given: str | list[str] | None, texts: Sequence[str], before: Alphabet | None, resume: bool
) -> Alphabet:
    """The symbols of a network that is trained on `texts`.

    given: the setting `alphabet`; before: of the model that the training begins with or, with `resume`, of
    its checkpoint. A model's symbols keep their order, and those of the texts follow.
    Raises InputError where the checkpoint cannot write what is now given, and for a fixed alphabet without a
    model.
    """
    if given == FIXED:
        if before is None:
            raise InputError("alphabet=fixed keeps the symbols of a model; give it as init=MODEL")
        chosen = before
    elif given and given != UNION and given not in NEW:
        chosen = Alphabet(list(given))
    else:
        chosen = Alphabet.from_texts(texts)
        if before and (resume or given in (None, UNION)):
            chosen = Alphabet([*before.symbols, *sorted(set().union(*map(before.unknown, texts)))])
    if resume and chosen != before:
        raise InputError(
            f"{LAST}: has another alphabet than the settings or the training texts now have; resume with "
            "those it was started with"
        )
    return chosen


def take_over(network: Network, alphabet: Alphabet, model: Model, path: str | Path) -> str:
    """Starts `network` from a model: weights where name and shape agree, output rows by their symbol.

    A symbol that the model lacks begins as the nearest one does. Returns what was taken, for the log.
    path: of the model, for messages.
    Raises InputError where less than a quarter of the tensors fit: that would be no start from it.
    """
    theirs, ours = model.network.state_dict(), network.state_dict()
    known = {symbol: row for row, symbol in enumerate(model.alphabet.symbols, start=1)}
    near = {row: nearest(s, known) for row, s in enumerate(alphabet.symbols, start=1)}
    rows = {0: 0} | {row: theirs_row for row, theirs_row in near.items() if theirs_row is not None}
    exact = sum(symbol in known for symbol in alphabet.symbols)

    same_width = theirs["head.weight"].shape[1] == ours["head.weight"].shape[1]

    def fits(name: str, tensor: torch.Tensor) -> bool:
        if name.startswith("head."):  # rows of symbols are taken one by one
            return same_width
        return name in theirs and theirs[name].shape == tensor.shape

    taken = [name for name, tensor in ours.items() if fits(name, tensor)]
    check_taken(path, len(taken), len(ours))
    if rest := [name for name in ours if name not in taken]:
        log.warning(
            "init=%s: %d of %d tensors do not fit and begin anew, such as %s",
            path, len(rest), len(ours), ", ".join(rest[:3]),
        )  # fmt: skip
    for name in taken:
        if name.startswith("head."):
            ours[name][list(rows)] = theirs[name][list(rows.values())]
        else:
            ours[name].copy_(theirs[name])
    network.load_state_dict(ours)
    alike = f", {len(rows) - 1 - exact} from a like one" if len(rows) - 1 > exact else ""
    return f"{len(taken)} of {len(ours)} tensors, {exact} of {len(alphabet.symbols)} symbols{alike}"


def nearest(symbol: str, rows: Mapping[str, int]) -> int | None:
    """The row of a symbol; where there is none, of its other case, or of the letter without its accents."""
    base = unicodedata.normalize("NFD", symbol)[0]
    return next((rows[s] for s in (symbol, symbol.swapcase(), base, base.swapcase()) if s in rows), None)


def check_taken(path: str | Path, taken: int, tensors: int) -> None:
    """Raises InputError where `init` would take over few tensors, and so be no start from that model."""
    if 4 * taken < tensors:
        raise InputError(
            f"init={path}: only {taken} of {tensors} tensors fit, as that model has another network; leave "
            "out what changes network and features, which `train` takes from the model, or leave out init"
        )
