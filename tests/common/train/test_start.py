"""What a training takes over from another model."""

from pathlib import Path

import pytest
import torch

from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.text.alphabet import Alphabet
from carousel.common.train import loop as training
from carousel.common.train.start import choose_alphabet
from tests.common import toy


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    return training.train(toy.settings(folder, epochs=2), toy.read, toy.size, folder / "run")


def tuned(trained: Path, folder: Path, text: str, **changes: object) -> model_file.Model:
    """A model that went on from `trained` without learning, on one text."""
    config = toy.settings(folder, epochs=1) | {"init": str(trained), "augment": None} | changes
    config["optimizer"] |= {"rate": 1e-12, "weight_noise": 0.0, "weight_decay": 0.0}
    path = folder / "train.jsonl"
    first, *_ = path.read_text().splitlines()
    path.write_text(first.replace(first.split('"text": "')[1].split('"')[0], text) + "\n")
    return model_file.load(training.train(config, toy.read, toy.size, folder / "run"))


def test_symbols_that_the_new_texts_lack_stay_and_new_ones_come_after(trained: Path, tmp_path: Path):
    before = model_file.load(trained)
    after = tuned(trained, tmp_path, "bz")
    assert "".join(after.alphabet.symbols) == "abcdz"
    for name in ("head.weight", "head.bias"):
        old, new = (m.network.state_dict()[name] for m in (before, after))
        assert torch.allclose(new[: len(old)], old, atol=1e-2) and len(new) == len(old) + 1
    resumed = toy.settings(tmp_path, epochs=2) | {
        "resume": True,
        "init": str(tmp_path / "gone"),
        "augment": None,
    }
    best = training.train(
        resumed, toy.read, toy.size, tmp_path / "run"
    )  # the model of init is needed no more
    assert model_file.load(best).alphabet == after.alphabet


def test_the_symbols_of_the_texts_alone_can_be_asked_for(trained: Path, tmp_path: Path):
    after = tuned(trained, tmp_path, "bz", alphabet="texts")
    assert after.alphabet == Alphabet("bz")


def test_a_network_into_which_few_weights_fit_is_an_error(trained: Path, tmp_path: Path):
    network = toy.settings(tmp_path)["network"] | {"hidden": 7}
    with pytest.raises(InputError, match=r"init=.*best.safetensors: only \d of \d+ tensors fit"):
        tuned(trained, tmp_path, "ab", network=network)
    tuned(trained, tmp_path, "ab", network=network | {"hidden": 24, "layers": 3})  # most of it fits


def test_the_alphabet_of_a_training():
    before = Alphabet("ba%")
    assert choose_alphabet(None, ["ab", "c"], before, False) == Alphabet("ba%c")
    assert choose_alphabet("texts", ["ab", "c"], before, False) == Alphabet("abc")
    assert choose_alphabet("xa", ["ab", "c"], before, False) == Alphabet("xa")
    assert choose_alphabet(["xa", "a"], ["ab"], before, False).symbols == ("xa", "a")
    long = Alphabet(["sch", "a"])
    assert choose_alphabet(None, ["schas", "c"], long, False).symbols == ("sch", "a", "c", "s")
    assert choose_alphabet(None, ["ab"], None, False) == Alphabet("ab")
    assert choose_alphabet(None, ["ab"], before, True) == before
    assert choose_alphabet("texts", ["ab"], before, True) == before
    for given, texts in (("ab", ["ab"]), (None, ["abc"])):
        with pytest.raises(InputError, match="another alphabet"):
            choose_alphabet(given, texts, before, True)
