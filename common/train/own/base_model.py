"""Which of the models that ship a training on a user's data starts from, if any, and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.model.names import model_files
from carousel.common.recogniser import recognise
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import error_rates
from carousel.common.train.start import nearest

READ = 40  # samples of valid that each model reads
KNOWN = 0.5  # share of the characters that a model must know to be a start
GOOD = 0.4  # character error rate below which a model is a start however much data there is
EXACT = 0.5  # share of the characters that it knows as they stand, below which its own symbols are left out


class Start(NamedTuple):
    path: Path | None  # of the model; None: from nothing
    alphabet: str  # "union" or "new", as the setting
    why: str


def choose(
    models: Path,
    domain: str,
    texts: Sequence[str],
    samples: Sequence[Sample],
    enough: bool,
    read: Callable[..., Any],
) -> Start:
    """The model of `models` that makes the fewest errors on some of valid, case and punctuation aside.

    A training of some minutes cannot tell whether a start helps, as one from nothing has not begun to write
    by then; but reading can, and with little data the front and lower layers of any model of the same script
    or sound do better than none. So: none where it lacks most characters, nor where there
    is enough data and the model does not read it. enough: whether there is.
    """
    found: list[tuple[float, Path, float]] = []
    for path in model_files(models):
        header = model_file.read_header(path)
        if header["domain"] != domain:
            continue
        if known(texts, Alphabet(header["alphabet"]), like=True) >= KNOWN:
            found.append((_errors(path, samples, read), path, known(texts, Alphabet(header["alphabet"]))))
    if not found:
        return Start(None, "new", "from nothing, as no model that ships knows half of the characters")
    errors, path, exact = min(found, key=lambda one: one[:2])
    others = ", ".join(f"{p.stem} {100 * e:.0f} %" for e, p, _ in sorted(found) if p != path)
    evidence = f"{path.stem} has {100 * errors:.0f} % character errors on valid as it stands"
    evidence += f" ({others})" if others else ""
    if enough and errors > GOOD:
        return Start(None, "new", f"from nothing, as there is much data, and {evidence}")
    return Start(path, "union" if exact >= EXACT else "new", f"from {path.stem}: {evidence}")


def known(texts: Sequence[str], alphabet: Alphabet, like: bool = False) -> float:
    """The share of the characters of texts that an alphabet has. like: or has one like it (see `nearest`)."""
    counts = Counter("".join(texts))
    total = sum(counts.values())
    rows = {symbol: row for row, symbol in enumerate(alphabet.symbols)}
    has = (lambda c: nearest(c, rows) is not None) if like else rows.__contains__
    return sum(count for symbol, count in counts.items() if has(symbol)) / max(total, 1)


def _errors(path: Path, samples: Sequence[Sample], read: Callable[..., Any]) -> float:
    """The character error rate of a model on samples; above 1 where none can be read."""
    model = model_file.load(path)
    arrays, texts = [], []
    for sample in samples[:: max(len(samples) // READ, 1)][:READ]:
        try:
            arrays.append(read(sample, model.features))
            texts.append(sample.text)
        except InputError:  # build_corpus names it
            continue
    if not arrays:
        return 2.0
    heard = [nbest[0].text for nbest in recognise(model, arrays, decoder="greedy")]
    return float(error_rates(zip(texts, heard, strict=True), ignored=("case", "punctuation"))["cer"])
