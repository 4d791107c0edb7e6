"""The likeliest next words are those that enumeration finds."""

import itertools
import math

import numpy as np
import pytest
import torch

import carousel
from carousel.common.language.lstm import LanguageModel, LanguageNetwork
from carousel.common.language.suggest import suggest

SETTINGS = {"embedding": 4, "hidden": 8, "layers": 1, "cell": "lstm", "dropout": 0.0}


def made(tokens: tuple[str, ...], unit: str = "characters", seed: int = 1) -> LanguageModel:
    torch.manual_seed(seed)
    network = LanguageNetwork(len(tokens), SETTINGS).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
        if unit == "characters":
            network.head.bias[tokens.index(" ")] += 2  # words are short
    return LanguageModel(network, tokens, SETTINGS, unit)


def logs_of(model: LanguageModel, numbers: list[int]) -> np.ndarray:
    """ln of the next token's probabilities."""
    tokens = torch.tensor([[model.mark, *numbers]])
    scores, _ = model.network(tokens, torch.tensor([tokens.shape[1]]))
    return torch.log_softmax(scores[0, -1].double(), 0).numpy()


def enumerated(model: LanguageModel, before: str, begun: str, longest: int) -> dict[str, float]:
    """ln P of all words of up to so many more letters."""
    letters = [token for token in model.tokens[2:] if token != " "]
    found = {}
    for length in range(longest + 1):
        for ending in map("".join, itertools.product(letters, repeat=length)):
            if not begun + ending:
                continue
            numbers, total = model.numbers(before + begun), 0.0
            for number in model.numbers(ending):
                total += logs_of(model, numbers)[number]
                numbers.append(number)
            rest = logs_of(model, numbers)
            found[begun + ending] = total + np.logaddexp(rest[1], rest[model.index[" "]])
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("before", "begun"), [("", ""), ("ab ", ""), ("ba ", "a"), ("", "ab")])
def test_words_of_characters_are_the_likeliest_of_all(seed, before, begun) -> None:
    model = made(("<unk>", "</s>", " ", "a", "b"), seed=seed)
    expected = enumerated(model, before, begun, 6)
    best = sorted(expected, key=lambda word: -expected[word])[:3]
    found = suggest(before + begun, model)
    assert [word for word, _ in found] == best
    assert [p for _, p in found] == pytest.approx([math.exp(expected[word]) for word in best], abs=1e-6)


def test_words_of_a_list_complete_what_is_begun() -> None:
    model = made(("<unk>", "</s>", "one", "two", "three", "ten"), "words")
    logs = logs_of(model, model.numbers("two"))
    order = sorted(("one", "two", "three", "ten"), key=lambda word: -logs[model.index[word]])
    assert [word for word, _ in suggest("two ", model, 4)] == order
    assert [word for word, _ in suggest("two t", model)] == [word for word in order if word[0] == "t"]


def test_lines_before_count(tmp_path) -> None:
    model = made(("<unk>", "</s>", " ", "a", "b"))
    whole = suggest("ab\n", model)
    assert whole != suggest("", model)
    model.save(tmp_path / "lm.safetensors")
    found = carousel.suggest("ab\n", tmp_path / "lm.safetensors", 2)
    assert [word for word, _ in found] == [word for word, _ in whole[:2]]
    with pytest.raises(carousel.InputError, match="no such language model"):
        carousel.suggest("a", tmp_path / "none")
