"""What an n-gram model's file says of itself, or leaves open: its description, its scores, its tokens."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import SPACE, NGrams
from carousel.common.language.ngram_safetensors import advise, compact_size
from carousel.common.text.alphabet import Alphabet

TOY = [line.split() for line in ("a b a c", "b a a", "c", "a b c a b")]


@pytest.mark.parametrize(
    "change",
    [
        {"counts": True},
        {"counts": [5, [1]]},
        {"counts": [5, -4]},
        {"words": "abc"},
        {"words": 3},
        {"unit": ["words"]},
        {"running": 1},
        {"advice": ["bonus"]},
        {"advice": {"lm_weight": -1.0}},
        {"advice": {"bonus": math.inf}},
        {"more": 1},
    ],
)
def test_a_description_that_contradicts_itself_is_one_sentence(tmp_path: Path, change: dict):
    path = tmp_path / "m.safetensors"
    ngram_files.save(estimate(TOY, 2), path)
    with safe_open(path, "numpy") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header["model"] = json.dumps(json.loads(header["model"]) | change)
    save_file(tensors, path, header)
    with pytest.raises(InputError, match=r"m.safetensors: is damaged"):
        ngram_files.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", 70_000),
        ("token", -1),
        ("log_prob", np.nan),
        ("log_prob", 2.0),
        ("backoff", np.inf),
        ("backoff", 9e19),
    ],
)
def test_arrays_that_are_no_model_are_refused(tmp_path: Path, name: str, value: float):
    model = estimate(TOY, 2)
    array = getattr(model, name).copy()
    array[-1] = value
    ngram_files.save(NGrams(**{**model.__dict__, name: array}), tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"m.safetensors: (is damaged|has)"):
        ngram_files.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("weight", [30, 900])
def test_backoff_weights_that_no_estimate_gives_do_not_hang_the_search(tmp_path: Path, weight: int):
    """Their powers are infinite, and infinities NaN, which the search could sort for ever."""
    model = estimate([["a", "b", SPACE, "a"], ["b", "a"]], 3)
    more = {"backoff": model.backoff + np.float32(weight * math.log(10)), "unit": "characters"}
    model = NGrams(**{**model.__dict__, **more})
    ngram_files.save(model, tmp_path / "m.arpa")
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 60))
    found = decode(log_probs, Alphabet(" ab"), "beam", lm=tmp_path / "m.arpa", nbest=5)
    assert all(np.isfinite(hypothesis.score) for hypothesis in found)


def arpa_of(words: list[str], path: Path) -> Path:
    rows = "".join(f"-1\t{word}\n" for word in ("<s>", "</s>", "<unk>", *words))
    path.write_text(f"\\data\\\n\n\\1-grams:\n{rows}\n\\end\\\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "unit"),
    [
        (["A", "B", "<space>"], "characters"),
        (["A", "B", "\u2581"], "characters"),
        (["A", "B", "|"], "characters"),
        (["A", "B", "<SIL>"], None),
        (["A", "B", "E\u0301"], None),
        (["A", "B"], None),
        (["A", "B", "TEN"], "words"),
        (["A", "B", "|", "TEN"], "words"),
    ],
)
def test_what_the_tokens_are_is_seen_asked_for_or_guessed_aloud(tmp_path: Path, caplog, words, unit):
    """Spelled letters are no characters: these have a space among them."""
    path = arpa_of(words, tmp_path / "x.arpa")
    for spaces in (True, False):
        caplog.clear()
        model = ngram_files.load(path, spaces=spaces)
        assert model.unit == (unit or ("words" if spaces else "characters"))
        assert [SPACE in model.words, len(caplog.messages)] == [unit == "characters", unit is None]
    assert unit is not None or "--lm-unit words says otherwise" in caplog.text
    if unit != "words":
        assert ngram_files.load(path, "characters").unit == "characters"
    assert ngram_files.load(path, "words").unit == "words"


def test_a_unit_that_the_file_denies_is_refused(tmp_path: Path):
    path = arpa_of(["A", "TEN"], tmp_path / "x.arpa")
    with pytest.raises(InputError, match=r"x.arpa: has tokens such as TEN.*leave out --lm-unit"):
        ngram_files.load(path, "characters")
    ngram_files.save(estimate([["A"]], 1), tmp_path / "m.safetensors")
    assert ngram_files.load(tmp_path / "m.safetensors", "words").unit == "words"
    with pytest.raises(InputError, match=r"m.safetensors: says that it is over words"):
        ngram_files.load(tmp_path / "m.safetensors", "characters")


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("name", ["m.arpa", "m.arpa.gz", "m.safetensors"])
def test_a_model_of_single_letters_is_the_same_from_each_of_our_files(tmp_path: Path, caplog, unit, name):
    model = NGrams(**{**estimate([["A", "B", "|"], ["B", "B"]], 2).__dict__, "unit": unit})
    ngram_files.save(model, tmp_path / name)
    assert ngram_files.load(tmp_path / name).unit == unit and not caplog.messages


def test_words_of_one_letter_are_read_as_words(tmp_path: Path):
    """The whole way: the letters of a spelled name stand apart, as the model has them."""
    alphabet, text = Alphabet(" AB"), "A B A"
    log_probs = np.full((10, 4), -9.0)
    log_probs[np.arange(10), [0, 2, 0, 1, 3, 0, 1, 2, 0, 0]] = 0
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
    path = arpa_of(["A", "B"], tmp_path / "x.arpa")
    found = {
        unit: decode(log_probs, alphabet, "beam", lm=path, lm_unit=unit, lm_weight=3.0)[0]
        for unit in (None, "words", "characters")
    }
    assert found[None] == found["words"] and found["words"].text == text
    assert found["characters"].score < found["words"].score - 2  # each space is unknown to it
    with pytest.raises(InputError, match="give lm as a file"):
        decode(log_probs, alphabet, "beam", lm=estimate([["A"]], 1), lm_unit="words")


def test_a_compact_file_holds_the_model_to_its_rounding_and_is_as_large_as_foretold(tmp_path: Path):
    text = [list(word) for word in ("abracadabra", "abba", "cadabra", "barbara", "brac", "dab")]
    model = replace(estimate(text, 4), advice={"lm_weight": 0.7})
    ngram_files.save(model, tmp_path / "m.safetensors", compact=True)
    assert (tmp_path / "m.safetensors").stat().st_size <= compact_size(model.words, model.counts)
    found = ngram_files.load(tmp_path / "m.safetensors")
    for name in ("first", "token", "follow", "shorter"):
        assert (getattr(found, name) == getattr(model, name)).all(), name
    # fewer values than 256 of each order here: nothing is rounded
    assert found.log_prob == pytest.approx(model.log_prob, abs=1e-5)
    assert found.backoff == pytest.approx(model.backoff, abs=1e-5)
    assert (found.words, found.advice, found.order) == (model.words, model.advice, 4)
    before = (tmp_path / "m.safetensors").stat().st_size
    advise(tmp_path / "m.safetensors", {"lm_weight": 0.9, "bonus": 1.0})
    again = ngram_files.load(tmp_path / "m.safetensors")
    assert again.advice == {"lm_weight": 0.9, "bonus": 1.0} and (again.log_prob == found.log_prob).all()
    assert (tmp_path / "m.safetensors").stat().st_size < before + 100


def test_rounding_to_256_values_changes_the_perplexity_by_less_than_a_hundredth(tmp_path: Path):
    rng = np.random.default_rng(1)
    text = [[f"w{k}" for k in rng.zipf(1.5, 12) if k < 500] for _ in range(4000)]
    model = estimate(text, 3)
    ngram_files.save(model, tmp_path / "m.safetensors", compact=True)
    found = ngram_files.load(tmp_path / "m.safetensors")
    assert len(np.unique(model.log_prob)) > 5000
    assert found.perplexity(text[:300])[0] == pytest.approx(model.perplexity(text[:300])[0], rel=0.01)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("token", lambda a: a + 50),
        ("token", lambda a: a[::-1]),
        ("token", lambda a: a[:-1]),
        ("arcs", lambda a: a[::-1]),
        ("arcs", lambda a: a + 1),
        ("score", lambda a: a[:-1]),
        ("score", lambda a: a.astype(np.int32)),
        ("score_values", lambda a: a[:1]),
        ("score_values", lambda a: a + np.float32(300)),
        ("weight", lambda a: a[:-1]),
        ("weight_values", lambda a: a * np.float32(np.nan)),
    ],
)
def test_a_damaged_compact_file_is_refused(tmp_path: Path, name: str, change):
    path = tmp_path / "m.safetensors"
    ngram_files.save(estimate(TOY, 3), path, compact=True)
    with safe_open(path, "numpy") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_file(tensors, path, header)
    with pytest.raises(InputError, match=r"m.safetensors: (is damaged|has)"):
        ngram_files.load(path)
