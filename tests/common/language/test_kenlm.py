"""Against KenLM: what its lmplz makes of the same text, its binary files, and its Python module."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams
from carousel.common.text.alphabet import Alphabet

FILES = Path(__file__).parent / "kenlm"


def sentences(name: str) -> list[list[str]]:
    return [line.split() for line in gzip.open(FILES / f"{name}.txt.gz", "rt", encoding="utf-8")]


def unpacked(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(gzip.decompress((FILES / f"{name}.gz").read_bytes()))
    return path


def ours(order: int, prune: tuple[int, ...] = ()) -> NGrams:
    return estimate(sentences("train"), order, prune=prune)


def differences(a: NGrams, b: NGrams) -> float:
    """The largest difference of a token's natural log on held-out sentences, some with unknown words."""
    held = [*sentences("held"), ["dan", "nobody", "du"], ["nobody"], []]
    return max(float(np.abs(a.scores(s) - b.scores(s)).max()) for s in held)


@pytest.mark.parametrize(
    ("file", "order", "prune"), [("3.arpa", 3, ()), ("5.arpa", 5, ()), ("pruned.arpa", 3, (0, 0, 1))]
)
def test_our_estimate_is_that_of_lmplz(file: str, order: int, prune: tuple[int, ...]):
    theirs, model = ngram_files.load(FILES / f"{file}.gz"), ours(order, prune)
    assert differences(theirs, model) < 2e-5
    held = sentences("held")
    (perplexity, count, unknown), expected = model.perplexity(held), theirs.perplexity(held)
    assert perplexity == pytest.approx(expected[0], rel=1e-5) and (count, unknown) == expected[1:]


def test_a_binary_file_is_the_arpa_file_it_was_made_of(tmp_path: Path):
    read, arpa = ngram_files.load(unpacked("3.bin", tmp_path)), ngram_files.load(FILES / "3.arpa.gz")
    assert read.counts == arpa.counts and set(read.words) == set(arpa.words)
    assert (read.unit, read.running) == ("words", False)
    assert differences(read, arpa) < 1e-5
    ngram_files.save(read, tmp_path / "again.arpa")  # n-gram for n-gram
    again, given = grams(tmp_path / "again.arpa"), grams(unpacked("3.arpa", tmp_path))
    assert again.keys() == given.keys() and len(given) == sum(arpa.counts)
    np.testing.assert_allclose([again[gram] for gram in given], list(given.values()), atol=1e-5)


def grams(path: Path) -> dict[str, tuple[float, float]]:
    """Score and weight of each n-gram of an ARPA file."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line]
    return {row[1]: (float(row[0]), float((*row, "0")[2])) for row in rows}


def test_a_search_with_a_binary_file_is_that_with_the_arpa_file(tmp_path: Path):
    alphabet = Alphabet(" abdefgiklmnoprstu")
    log_probs = np.random.default_rng(3).normal(0, 2, (30, len(alphabet)))
    log_probs -= np.logaddexp.reduce(log_probs, axis=1, keepdims=True)
    found = [
        [
            (h.text, pytest.approx(h.score, abs=1e-3))
            for h in decode(log_probs, alphabet, "beam", nbest=5, lm=lm)
        ]
        for lm in (unpacked("3.bin", tmp_path), FILES / "3.arpa.gz")
    ]
    assert found[0] == [(text, score.expected) for text, score in found[1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({48: ord("4")}, "another version"),
        ({96: 2}, "of type trie"),
        ({100: 0}, "without its words"),
        ({88: 1}, "damaged"),
        ({500: 1}, None),  # in the words' hash table, which nobody needs
    ],
)
def test_other_kinds_of_binary_files_are_named(tmp_path: Path, change: dict[int, int], message: str | None):
    path = unpacked("3.bin", tmp_path)
    data = bytearray(path.read_bytes())
    for place, value in change.items():
        data[place] = value
    path.write_bytes(data)
    if message is None:
        assert ngram_files.load(path).order == 3
        return
    with pytest.raises(InputError, match=rf"3\.bin: .*{message}"):
        ngram_files.load(path)


def test_a_binary_file_cut_off_or_with_a_wrong_key_is_named(tmp_path: Path):
    path = unpacked("3.bin", tmp_path)
    data = path.read_bytes()
    for end in (60, 200, 5000, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"3\.bin: is a"):
            ngram_files.load(path)
    at = data.rindex(b"<unk>\0") - 12  # the last bucket of the longest n-grams; fill it with a made-up one
    path.write_bytes(data[:at] + b"\x07" * 8 + data[at + 8 :])
    with pytest.raises(InputError, match=r"order 3 have no beginning"):
        ngram_files.load(path)


def test_a_file_of_too_many_pairs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("carousel.common.language.kenlm.MOST_PAIRS", 1000)
    with pytest.raises(InputError, match=r"3\.bin: is too large .* ARPA"):
        ngram_files.load(unpacked("3.bin", tmp_path))


@pytest.mark.parametrize("order", [3, 5])
def test_kenlm_reads_our_arpa_files_as_we_do(tmp_path: Path, order: int):
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    model = ours(order)
    ngram_files.save(model, tmp_path / "ours.arpa")
    theirs = kenlm.Model(str(tmp_path / "ours.arpa"))
    for sentence in [*sentences("held"), ["dan", "nobody", "du"]]:
        expected = [score for score, _, _ in theirs.full_scores(" ".join(sentence))]
        np.testing.assert_allclose(model.scores(sentence) / math.log(10), expected, atol=2e-6)
