"""Arithmetic coding, and texts packed by a language model and unpacked again."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.cli.prepare import run
from carousel.common.errors import InputError
from carousel.common.language.arithmetic import COUNTS, Decoder, Encoder, cumulative
from carousel.common.language.lstm import LanguageModel, LanguageNetwork
from carousel.common.language.packing import HEADER, pack, unpack
from carousel.recipes.language import pack as command

SETTINGS = {"embedding": 4, "hidden": 8, "layers": 1, "cell": "lstm", "dropout": 0.0}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(1)
    tokens = ("<unk>", "</s>", *" abcdeé")
    network = LanguageNetwork(len(tokens), SETTINGS).eval().requires_grad_(False)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([-3.0, -1, 1, 2, 0, 0, 0, 0, -2]))
    return LanguageModel(network, tokens, SETTINGS)


@given(st.integers(2, 40), st.integers(0, 300), st.integers(0, 2**32 - 1), st.floats(0.01, 3))
@settings(max_examples=25, deadline=None)
def test_symbols_come_back_and_cost_what_they_are_worth(symbols, count, seed, sharpness) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(symbols, sharpness), max(count, 1))[:count]
    edges = cumulative(probabilities.reshape(count, symbols))
    assert (np.diff(edges, axis=1) >= 1).all() and (edges[:, -1] == COUNTS).all()
    chosen = [int(rng.choice(symbols, p=row / row.sum())) for row in probabilities]
    encoder = Encoder()
    for row, symbol in zip(edges, chosen, strict=True):
        encoder.encode(int(row[symbol]), int(row[symbol + 1]))
    data = encoder.finish()
    decoder = Decoder(data)
    assert [decoder.decode(row) for row in edges] == chosen
    parts = [np.diff(row)[symbol] / COUNTS for row, symbol in zip(edges, chosen, strict=True)]
    ideal = -sum(map(math.log2, parts))
    assert ideal - 1e-6 <= 8 * len(data) <= ideal + 2 + 8


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80) | st.text("abc é\n", max_size=300))
@settings(max_examples=12, deadline=None)
def test_texts_come_back(model, text) -> None:
    for streams in (1, 5):
        assert unpack(pack(text, model, streams), model) == text


def test_a_text_costs_what_the_model_says(model) -> None:
    text = "abba cede\nabé a"
    first, second = (model.numbers(line) for line in text.split("\n"))
    tokens = torch.tensor([[model.mark, *first, model.mark, *second]])
    scores, _ = model.network(tokens[:, :-1], torch.tensor([len(text)]))
    nats = torch.nn.functional.cross_entropy(scores[0].double(), tokens[0, 1:], reduction="sum")
    bits = 8 * (len(pack(text, model, 1)) - HEADER.size)
    assert bits == pytest.approx(float(nats) / math.log(2), abs=10)


def test_what_was_not_packed_or_by_another_is_told(model) -> None:
    packed = pack("abc", model)
    for data in (b"", b"abc", b"x" * 40):
        with pytest.raises(InputError, match="was not packed"):
            unpack(data, model)
    torch.manual_seed(2)
    other = LanguageModel(LanguageNetwork(len(model.tokens), SETTINGS).eval(), model.tokens, SETTINGS)
    with pytest.raises(InputError, match="by another language model"):
        unpack(packed, other)
    broken = bytearray(pack("abcabc" * 20, model))
    broken[HEADER.size + 3] ^= 16
    with pytest.raises(InputError, match="came out otherwise"):
        unpack(bytes(broken), model)
    long = bytearray(packed)
    long[13:17] = b"\xff\xff\xff\xff"
    with pytest.raises(InputError, match="damaged"):
        unpack(bytes(long), model)
    with pytest.raises(InputError, match="running=false"):
        pack("abc", LanguageModel(model.network, model.tokens, SETTINGS, running=True))


def test_the_command_packs_and_unpacks(model, tmp_path, capsys) -> None:
    model.save(tmp_path / "lm.safetensors")
    text = tmp_path / "a.txt"
    text.write_text("abba abba\n" * 30)
    words = [str(tmp_path / "lm.safetensors"), str(text)]
    assert run(command, words) == 0
    shown = capsys.readouterr().out
    assert "bits a character" in shown and "xz" in shown
    assert run(command, words) == 1 and "is there already" in capsys.readouterr().err
    text.unlink()
    assert run(command, [words[0], words[1] + ".crsl", "--back"]) == 0
    assert text.read_text() == "abba abba\n" * 30
