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
    """The symbols a recogniser can write (case and punctuation kept).

    Parameters
    ----------
    symbols: without the blank, in the order of their indices 1, 2, …; each is a character, or several (a
    phone, ligature or piece of a word) among which there is no space. A text is split into as few of them as
    can be.

    Raises InputError if a symbol is repeated or empty, has a space among others, or is not in NFC.
    """

    def __init__(self, symbols: Sequence[str]):
        self.symbols = tuple(symbols)
        self._index = {symbol: i for i, symbol in enumerate(self.symbols, start=BLANK + 1)}
        if len(self._index) != len(self.symbols):
            repeated = {s for s in self.symbols if self.symbols.count(s) > 1}
            raise InputError(f"the alphabet repeats {name_symbols(repeated)}; give each symbol once")
        self.longest = max(map(len, self.symbols), default=1)  # characters of a symbol
        wrong = {s for s in self.symbols if not s or normalise(s) != s or (len(s) > 1 and s.split() != [s])}
        if wrong:
            raise InputError(
                f"the alphabet has {name_symbols(wrong)}; each symbol must be in NFC, a character or several "
                "without a space"
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
        return f"Alphabet({''.join(self.symbols) if self.longest == 1 else self.symbols!r})"

    def split(self, text: str) -> list[str]:
        """The NFC text as symbols, and characters that are part of none: as few of these as can be, then as
        few symbols; of ways that are alike, the one whose first symbols are longer."""
        text = normalise(text)
        if self.longest == 1:
            return list(text)
        best: list[tuple[int, int, int]] = [(0, 0, 0)]  # from each place on: unknown, pieces, length of first
        for start in range(len(text) - 1, -1, -1):
            ways = [(best[-1][0] + 1, best[-1][1] + 1, 1)]
            for length in range(min(self.longest, len(text) - start), 0, -1):
                if text[start : start + length] in self._index:
                    rest = best[-length]
                    ways.append((rest[0], rest[1] + 1, length))
            best.append(min(ways, key=lambda way: (*way[:2], -way[2])))
        pieces, start = [], 0
        while start < len(text):
            length = best[len(text) - start][2]
            pieces.append(text[start : start + length])
            start += length
        return pieces

    def unknown(self, text: str) -> set[str]:
        """Characters of `text` that this alphabet cannot write."""
        return set(self.split(text)) - self._index.keys()

    def writable(self, text: str) -> str:
        """The NFC text without the characters that this alphabet cannot write."""
        return "".join(piece for piece in self.split(text) if piece in self._index)

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
            return [self._index[symbol] for symbol in self.split(text)]
        except KeyError:
            named = name_symbols(self.unknown(text))
            raise InputError(f"the alphabet cannot write {named} of the text {text!r}") from None

    def decode(self, indices: Iterable[int]) -> str:
        """Text of `indices` (blanks write nothing, repeats are kept: collapsing is the decoder's work)."""
        return "".join(self.symbols[i - 1] for i in indices if i != BLANK)
