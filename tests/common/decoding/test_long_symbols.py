"""Symbols of several characters: as if each were a character of its own, which then is written out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.decoding import decode
from carousel.common.decoding.align import align, spell
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams, tokens
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import LM_LATTICES, UNLIMITED

LONG, SHORT = Alphabet([" ", "sch", "a"]), Alphabet(" ʃa")
WORDS = ["ʃa", "a", "aʃʃ"]


def long(text: str) -> str:
    return text.replace("ʃ", "sch")


def of_symbols(texts: list[list[str]]) -> NGrams:
    return replace(estimate(texts, 2), unit="characters")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The options of a search whose files are in one alphabet or the other."""
    folder = tmp_path_factory.mktemp("long")
    found = {}
    for name, alphabet, written in (("short", SHORT, str), ("long", LONG, long)):
        words = folder / f"{name}.txt"
        words.write_text("\n".join(map(written, WORDS)), encoding="utf-8")
        texts = [tokens(written(text), "characters", alphabet.split) for text in ("ʃa a", "aʃʃ", "a ʃa a")]
        path = folder / f"{name}.safetensors"
        ngram_files.save(of_symbols(texts), path)
        found[name] = {"lexicon": words, "hotwords": words, "grammar": words, "lm": path}
    return found


@settings(deadline=None)
@given(LM_LATTICES, st.sampled_from([(), ("lexicon",), ("hotwords",), ("lm",), ("lexicon", "lm")]))
def test_searches_are_those_of_an_alphabet_of_characters(files, log_probs, options):
    read = {}
    for name, alphabet in (("short", SHORT), ("long", LONG)):
        given = {option: files[name][option] for option in options}
        given |= {"lm_weight": 0.6} if "lm" in options else {}
        found = decode(log_probs, alphabet, "beam", **UNLIMITED, **given)
        read[name] = [(h.text, round(h.score, 9), [(s.start, s.end) for s in h.symbols]) for h in found]
    assert [(long(text), *rest) for text, *rest in read["short"]] == read["long"]
    greedy = [decode(log_probs, alphabet, "greedy")[0].text for alphabet in (SHORT, LONG)]
    assert long(greedy[0]) == greedy[1]


def test_alignment_keeps_the_text_as_it_was_given():
    log_probs = np.log(np.full((9, 4), 0.1, np.float32))
    log_probs[np.arange(9), [2, 0, 3, 1, 3, 0, 2, 2, 0]] = np.log(0.7)
    found = align(log_probs, spell("SchA asch!", LONG, skip_unknown=True))
    assert [(s.text, s.start) for s in found.symbols] == [
        ("Sch", 0), ("A", 2), (" ", 3), ("a", 4), ("sch!", 6),
    ]  # fmt: skip


def test_a_language_model_of_characters_is_refused(tmp_path):
    ngram_files.save(of_symbols([tokens("scha a", "characters")]), tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="has no symbol such as 'sch' of the model; make it with"):
        decode(np.zeros((2, 4), np.float32), LONG, "beam", lm=tmp_path / "plain.safetensors")
