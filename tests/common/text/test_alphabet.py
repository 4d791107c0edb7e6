import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)


@given(texts)
def test_encoding_and_decoding_give_the_nfc_text_again(lines):
    alphabet = Alphabet.from_texts(lines)
    for line in lines:
        # some characters (e.g. of the composition exclusions) only come apart in NFC: then the NFC text is
        # what counts
        assert alphabet.decode(alphabet.encode(line)) == unicodedata.normalize("NFC", line)
        assert alphabet.unknown(line) == set()


def test_blank_is_index_zero_and_symbols_follow():
    alphabet = Alphabet("ab|_ ")
    assert len(alphabet) == 6
    assert alphabet.encode("a_| ") == [1, 4, 3, 5]
    assert alphabet.decode([0, 1, 0, 1, 2]) == "aab"


def test_decomposed_and_composed_text_are_the_same():
    assert Alphabet("é").encode("e\u0301") == [1]


def test_case_is_kept():
    assert Alphabet.from_texts(["aA"]).symbols == ("A", "a")


def test_an_unknown_character_is_named_by_code_point():
    with pytest.raises(InputError, match=r"'œ' \(U\+0153\)"):
        Alphabet("abc").encode("abœc")


@pytest.mark.parametrize("symbols", [["a", "a"], ["a b"], [" a"], ["e\u0301"], [""]])
def test_symbols_that_cannot_round_trip_are_refused(symbols):
    with pytest.raises(InputError):
        Alphabet(symbols)


@given(
    st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, unique=True), st.text("abcd ", max_size=8)
)
def test_texts_are_split_into_the_fewest_symbols(symbols, text):
    """Against all ways to split the text."""
    alphabet = Alphabet(symbols)
    pieces = alphabet.split(text)

    def ways(rest: str) -> list[tuple[int, ...]]:
        if not rest:
            return [()]
        firsts = [rest[:n] for n in (3, 2, 1) if len(rest) >= n and (n == 1 or rest[:n] in symbols)]
        return [(first not in symbols, *way) for first in firsts for way in ways(rest[len(first) :])]

    assert "".join(pieces) == text
    best = min((sum(way), len(way)) for way in ways(text))
    assert (sum(piece not in symbols for piece in pieces), len(pieces)) == best
    assert alphabet.unknown(text) == {piece for piece in pieces if piece not in symbols}
    assert alphabet.decode(alphabet.encode(alphabet.writable(text))) == alphabet.writable(text)


def test_a_longer_symbol_does_not_hide_what_can_be_written():
    alphabet = Alphabet(["ab", "bc", "a", " "])
    assert alphabet.encode("abc a") == [3, 2, 4, 3]
    assert alphabet.unknown("c b") == {"c", "b"} and alphabet.writable("cab b") == "ab "
    with pytest.raises(InputError, match=r"'c' \(U\+0063\)"):
        alphabet.encode("ac")


def test_no_texts_make_no_alphabet():
    with pytest.raises(InputError, match="empty"):
        Alphabet.from_texts(["", ""])
