"""LSTM language models: scores against a loop over single steps, states against concatenation, files."""

import json
import math
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.lstm import END, UNKNOWN, LanguageModel, LanguageNetwork, join, load, pick
from carousel.common.lstm.cells import lstm_step, peephole_step
from carousel.common.model import file as model_file
from carousel.common.settings.training import CELLS
from tests.tiny import tiny_model

SETTINGS: dict[str, Any] = {"embedding": 5, "hidden": 7, "layers": 2, "cell": "lstm", "dropout": 0.3}


def model(
    unit: str = "characters", running: bool = False, cell: str = "lstm", folded: int = 1
) -> LanguageModel:
    tokens = (UNKNOWN, END, *(["the", "cat", "sat"] if unit == "words" else " abc"))
    torch.manual_seed(1)
    network = LanguageNetwork(len(tokens), SETTINGS | {"cell": cell})
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor))  # peepholes and biases too
    network.eval().requires_grad_(False)
    return LanguageModel(network, tokens, SETTINGS | {"cell": cell}, unit, running, folded)


def by_steps(lm: LanguageModel, numbers: list[int]) -> list[float]:
    """ln of the probability of each token after the first, one step of the papers' equations at a time."""
    stack, found = lm.network.lstm, []
    state = [(torch.zeros(1, stack.hidden), torch.zeros(1, stack.hidden)) for _ in stack.recurrent]
    for read, following in pairwise(numbers):
        h = lm.network.embedding.weight[[read]]
        for k, (inputs, recurrent, bias) in enumerate(
            zip(stack.inputs, stack.recurrent, stack.bias, strict=True)
        ):
            projected = h @ inputs[0].T + bias[0]
            if stack.cell == "lstm":
                state[k] = lstm_step(projected, state[k], recurrent[0])
            else:
                state[k] = peephole_step(projected, state[k], recurrent[0], stack.peephole[k][0])
            h = state[k][0]
        scores = h @ lm.network.head.weight.T + lm.network.head.bias
        found.append(float(scores.log_softmax(-1)[0, following]))
    return found


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("running", [False, True])
def test_scores_are_those_of_a_loop_over_single_steps(cell: str, running: bool):
    lm = model(cell=cell, running=running)
    mark = 2 if running else 1
    for text in ("a", "abc cab", "b" * 40):
        numbers = [mark, *(" abc".index(c) + 2 for c in text), mark]
        assert lm.score([text])[0][0] == pytest.approx(sum(by_steps(lm, numbers)), abs=1e-4)


@given(st.lists(st.text(" abcx", max_size=12), min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_a_batch_scores_as_its_texts_do_alone(texts: list[str]):
    lm = model()
    scores, after = lm.score(texts)
    for row, text in enumerate(texts):
        alone, state = lm.score([text])
        assert scores[row] == pytest.approx(alone[0], abs=1e-4)
        for (h, c), (own_h, own_c) in zip(pick(after, [row]), state, strict=True):
            torch.testing.assert_close(h, own_h, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(c, own_c, atol=1e-5, rtol=1e-4)


def test_batches_that_memory_parts_score_the_same(monkeypatch: pytest.MonkeyPatch):
    texts = ["abc" * n for n in range(6)]
    whole, _ = model().score(texts)
    monkeypatch.setattr("carousel.common.language.lstm.ROOM", 150)  # of a vocabulary of 6: 25 tokens at once
    np.testing.assert_allclose(model().score(texts)[0], whole, atol=1e-4)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_state_carried_over_two_texts_is_their_concatenation(running: bool, cell: str):
    lm = model(running=running, cell=cell)
    first, state = lm.score(["ab ca"])
    second, _ = lm.score(["cab"], state)
    mark = 2 if running else 1
    numbers = [mark, *lm.numbers("ab ca"), mark, *lm.numbers("cab"), mark]
    assert first[0] + second[0] == pytest.approx(sum(by_steps(lm, numbers)), abs=1e-4)
    assert second[0] != pytest.approx(lm.score(["cab"])[0][0], abs=1e-3)
    if running:
        assert first[0] + second[0] == pytest.approx(lm.score(["ab ca cab"])[0][0], abs=1e-4)


def test_states_of_several_sessions_go_side_by_side():
    lm = model()
    _, after = lm.score(["a", "bc", "c a"])
    together, _ = lm.score(["b", "b", "b"], after)
    for row in range(3):
        assert together[row] == pytest.approx(lm.score(["b"], pick(after, [row]))[0][0], abs=1e-4)
    mixed, _ = lm.score(["b", "b"], join([pick(after, [2]), lm.fresh()]))
    assert mixed == pytest.approx([together[2], lm.score(["b"])[0][0]], abs=1e-4)


def test_an_empty_line_of_running_text_leaves_nothing():
    lm = model(running=True)
    _, state = lm.score(["ab"])
    score, after = lm.score([""], state)
    assert score[0] == 0 and all(
        torch.equal(a, b) for x, y in zip(state, after, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert model().score([""])[0][0] < 0  # an empty sentence is one


def test_scoring_changes_no_state_that_it_was_given():
    lm = model()
    _, state = lm.score(["ab"])
    kept = [(h.clone(), c.clone()) for h, c in state]
    lm.score(["c"], state)
    assert all(
        torch.equal(h, old_h) and torch.equal(c, old_c)
        for (h, c), (old_h, old_c) in zip(state, kept, strict=True)
    )


def test_unknown_words_share_the_probability_of_the_unknown():
    known, folded = (model("words", folded=count).score(["the dog sat"])[0][0] for count in (1, 50))
    assert folded == pytest.approx(known - math.log(50), abs=1e-5)
    assert model("words").score(["the cat sat"])[0][0] == pytest.approx(
        model("words", folded=50).score(["the  cat sat "])[0][0], abs=1e-6
    )


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_perplexity_is_that_of_the_scores(unit: str):
    lm = model(unit)
    sessions = [["the cat", "cat"], ["sat"], ["cat", "the", "a b"]]
    total, count, tokens = 0.0, 0, str.split if unit == "words" else list
    for session in sessions:
        state = None
        for line in session:
            score, state = lm.score([line], state)
            total, count = total + score[0], count + len(tokens(line)) + 1
    perplexity, counted = lm.perplexity(sessions)
    assert counted == count and perplexity == pytest.approx(math.exp(-total / count), rel=1e-4)
    apart = sum(lm.score([line])[0][0] for session in sessions for line in session)
    assert lm.perplexity(sessions, carry=False)[0] == pytest.approx(math.exp(-apart / count), rel=1e-4)


@pytest.mark.parametrize("half", [True, False])
def test_a_file_holds_all_of_a_model(tmp_path: Path, half: bool):
    lm = model("words", folded=9)
    lm.half, lm.advice, lm.card = half, {"weight": 0.3, "bonus": 1.0}, {"name": "toy"}
    lm.save(tmp_path / "lm.safetensors")
    again = load(tmp_path / "lm.safetensors")
    for name in ("tokens", "unit", "running", "folded", "advice", "card", "half", "settings"):
        assert getattr(again, name) == getattr(lm, name), name
    text = ["the cat", "dog"]
    np.testing.assert_allclose(again.score(text)[0], lm.score(text)[0], rtol=1e-2 if half else 1e-6)
    again.save(tmp_path / "copy.safetensors")
    ours, copied = (load_file(tmp_path / name) for name in ("lm.safetensors", "copy.safetensors"))
    assert all(
        torch.equal(ours[name], copied[name]) and ours[name].dtype == copied[name].dtype for name in ours
    )


def test_files_of_other_kinds_are_told_from_language_models(tmp_path: Path):
    from carousel.common.language.kneser_ney import estimate

    recogniser = tiny_model(tmp_path / "recogniser.safetensors", "ink")
    grams = tmp_path / "grams.safetensors"
    ngram_files.save(estimate([["a", "b"], ["b"]], 2), grams)
    lm = tmp_path / "lm.safetensors"
    model().save(lm)
    with pytest.raises(InputError, match=r"recogniser.safetensors: is a recogniser.*--model"):
        load(recogniser)
    with pytest.raises(InputError, match=r"grams.safetensors: is an n-gram model.*--lm"):
        load(grams)
    with pytest.raises(InputError, match=r"lm.safetensors: is a language model, not a recogniser.*--rescore"):
        model_file.load(lm)
    with pytest.raises(InputError, match=r"grams.safetensors: is a language model, not a recogniser"):
        model_file.read_header(grams)
    with pytest.raises(InputError, match=r"lm.safetensors: is of LSTM layers.*--rescore"):
        ngram_files.load(lm)
    with pytest.raises(InputError, match="no such language model"):
        load(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match=r"text.safetensors: is not a language model, or is damaged"):
        load(tmp_path / "text.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": ["<unk>", "</s>", "a", "a", "b", "c"]},
        {"tokens": ["<unk>", "</s>", "a"]},
        {"tokens": 6},
        {"settings": SETTINGS | {"hidden": 9}},
        {"settings": SETTINGS | {"layers": 10**9}},
        {"settings": {}},
        {"unit": "syllables"},
        {"folded": 0},
        {"advice": {"weight": "much"}},
        {"advice": None},
        {"advice": ["weight"]},
        {"advice": {"weight": -1.0}},
        {"folded": True},
        {"card": 3},
    ],
)
def test_a_description_that_does_not_fit_is_one_sentence(tmp_path: Path, change: dict):
    path = tmp_path / "lm.safetensors"
    model().save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["model"]) | change
    save_file(load_file(path), path, metadata | {"model": json.dumps(header)})
    with pytest.raises(InputError, match=r"lm.safetensors: is not a language model, or is damaged"):
        load(path)


def test_what_a_later_version_adds_to_the_description_is_left_alone(tmp_path: Path):
    path = tmp_path / "lm.safetensors"
    model().save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["model"]) | {"more": [1]}
    save_file(load_file(path), path, metadata | {"model": json.dumps(header)})
    assert load(path).score(["ab"])[0] == pytest.approx(model().score(["ab"])[0], rel=1e-2)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path):
    path = tmp_path / "lm.safetensors"
    broken = model()
    broken.network.head.bias.data[2] = math.nan
    broken.save(path)
    with pytest.raises(InputError, match=r"lm.safetensors: .*its weights are not all numbers"):
        load(path)


def test_a_cut_file_is_one_sentence(tmp_path: Path):
    path = tmp_path / "lm.safetensors"
    model().save(path)
    whole = path.read_bytes()
    for length in random.Random(1).sample(range(len(whole)), 20):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"lm.safetensors"):
            load(path)


def test_loading_does_not_bring_torchs_compiler(tmp_path: Path):
    """Which takes seconds: drawing normal numbers on the meta device used to import it."""
    model().save(tmp_path / "lm.safetensors")
    code = (
        "import sys; from carousel.common.language.lstm import load; "
        "load(sys.argv[1]); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "lm.safetensors"]).returncode == 0


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_every_cell_of_the_networks_carries_its_state_and_is_kept(cell: str, tmp_path: Path):
    model(running=True, cell=cell).save(tmp_path / "lm.safetensors")
    lm = load(tmp_path / "lm.safetensors")
    first, state = lm.score(["ab ca"])
    second, _ = lm.score(["cab"], state)
    assert first[0] + second[0] == pytest.approx(lm.score(["ab ca cab"])[0][0], abs=1e-4)
