"""Symbols ↔ indices. Index 0 is the CTC blank; symbol k of the alphabet has index k + 1."""

import unicodedata
from collections.abc import Iterable, Sequence

from carousel.common.errors import InputError

BLANK = 0


def normalise(text: str) -> str:
    """NFC, the one normal form in which texts are written, compared and encoded."""
    return unicodedata.normalize("NFC", text)


def name_symbols(symbols: Iterable[str]) -> str:
    """`'é' (U+00E9), 'œ' (U+0153)`: how messages name characters, so that look-alikes can be told apart."""
    return ", ".join(f"{s!r} ({' '.join(f'U+{ord(c):04X}' for c in s)})" for s in sorted(symbols))


class Alphabet:
    """The symbols a recogniser can write, each one NFC character (case and punctuation kept).

    Parameters
    ----------
    symbols: without the blank, in the order of their indices 1, 2, …

    Raises InputError if a symbol is repeated, is not one character, or is not in NFC.
    """

    def __init__(self, symbols: Sequence[str]):
        self.symbols = tuple(symbols)
        self._index = {symbol: i for i, symbol in enumerate(self.symbols, start=BLANK + 1)}
        if len(self._index) != len(self.symbols):
            repeated = {s for s in self.symbols if self.symbols.count(s) > 1}
            raise InputError(f"the alphabet repeats {name_symbols(repeated)}; give each symbol once")
        wrong = {s for s in self.symbols if len(s) != 1 or normalise(s) != s}
        if wrong:
            raise InputError(
                f"the alphabet has {name_symbols(wrong)}; each symbol must be one character in NFC"
            )

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Alphabet":
        """Every character that occurs in `texts`, in code-point order."""
        found: set[str] = set()
        for text in texts:
            found.update(normalise(text))
        if not found:
            raise InputError(
                "the texts are empty, so they have no characters to learn; check the training manifest"
            )
        return cls(sorted(found))

    def __len__(self) -> int:
        """Outputs of the network: the symbols and the blank."""
        return len(self.symbols) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alphabet) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    def __repr__(self) -> str:
        return f"Alphabet({''.join(self.symbols)!r})"

    def unknown(self, text: str) -> set[str]:
        """Characters of `text` that this alphabet cannot write."""
        return set(normalise(text)) - self._index.keys()

    def cased(self, text: str) -> str:
        """`text` in NFC, and in capitals or small letters if the alphabet has no others."""
        letters = "".join(self.symbols)
        if letters.upper() == letters:
            text = text.upper()
        elif letters.lower() == letters:
            text = text.lower()
        return normalise(text)

    def encode(self, text: str) -> list[int]:
        """Indices ≥ 1. Raises InputError naming each character it cannot write: none is ever dropped."""
        try:
            return [self._index[symbol] for symbol in normalise(text)]
        except KeyError:
            named = name_symbols(self.unknown(text))
            raise InputError(f"the alphabet cannot write {named} of the text {text!r}") from None

    def decode(self, indices: Iterable[int]) -> str:
        """Text of `indices` (blanks write nothing, repeats are kept: collapsing is the decoder's work)."""
        return "".join(self.symbols[i - 1] for i in indices if i != BLANK)
