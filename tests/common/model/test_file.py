import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from tests.common.test_network import FRONTS, SIZE, network

SETTINGS = {"front": "stack", "stride": 2, "hidden": 6, "layers": 2, "cell": "peephole", "dropout": 0.5}
CONVOLVED = SETTINGS | {"front": "conv1d"}
ALPHABET = Alphabet("abé ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Network(5, len(ALPHABET), SETTINGS)
    model_file.save(
        tmp_path / "m.safetensors",
        tensors=network.state_dict(),
        alphabet=ALPHABET,
        domain="ink",
        features={"kind": "ink"},
        network_settings=SETTINGS,
        size=5,
        decoder={"decoder": "beam"},
        card={"name": "m", "licence": "CC0"},
        half=False,
    )
    return tmp_path / "m.safetensors"


def altered(path: Path, **changes) -> Path:
    """The same tensors under a header with `changes`."""
    header = {**model_file.read_header(path), **changes}
    other = path.with_name("altered.safetensors")
    save_file(load_file(path), other, {"carousel": json.dumps(header)})
    return other


def test_all_comes_back(path: Path):
    torch.manual_seed(0)
    network = Network(5, len(ALPHABET), SETTINGS).eval()
    model = model_file.load(path)
    assert (model.alphabet, model.domain, model.stride, model.size) == (ALPHABET, "ink", 2, 5)
    assert model.features == {"kind": "ink"} and model.decoder == {"decoder": "beam"}
    assert model.card == {"name": "m", "licence": "CC0"}
    x = np.random.default_rng(0).normal(size=(2, 9, 5)).astype(np.float32)
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(x), torch.tensor([9, 9]))
    for ours, theirs in zip(model.log_probs(list(x)), expected.numpy(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.log_probs([]) == []


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_bf16_is_near_float32_and_a_row_in_a_batch_is_the_row_alone(front: str):
    """Within a few units of bf16's last place: products are summed in another order for other shapes."""
    lengths = (40, 1, 27, 13, 40, 2)
    rows = [np.random.default_rng(n).normal(size=(n, SIZE)).astype(np.float32) for n in lengths]
    of = Alphabet("abcdefghij"), "ink", {"kind": "ink"}, {}, SIZE
    exact = model_file.Model(network(front, "lstm").requires_grad_(False), *of)
    fast = replace(exact, bf16=True)
    assert not np.array_equal(fast.log_probs(rows)[0], exact.log_probs(rows)[0])
    for row, found, near in zip(rows, fast.log_probs(rows), exact.log_probs(rows), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-5)  # log-softmax is in float32
        np.testing.assert_allclose(found, fast.log_probs([row])[0], rtol=0, atol=0.03)
        np.testing.assert_allclose(found, near, rtol=0, atol=0.06)


def test_half_precision_is_half_the_size_and_nearly_the_same(path: Path, tmp_path: Path):
    model = model_file.load(path)
    header = model_file.read_header(path)
    keys = {"features", "size", "decoder", "card", "domain"}
    model_file.save(
        tmp_path / "half.safetensors",
        tensors=model.network.state_dict(),
        alphabet=ALPHABET,
        network_settings=SETTINGS,
        **{key: header[key] for key in keys},
    )
    assert (tmp_path / "half.safetensors").stat().st_size < 0.75 * path.stat().st_size
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    exact, rough = (model_file.load(p).log_probs([x])[0] for p in (path, tmp_path / "half.safetensors"))
    np.testing.assert_allclose(exact, rough, atol=2e-3)


def test_damaged_foreign_and_missing_files_are_named(path: Path, tmp_path: Path):
    whole = path.read_bytes()
    cases = {
        "cut.safetensors": whole[: len(whole) // 2],
        "empty.safetensors": b"",
        "text.safetensors": b"hello, this is no model at all" * 10,
        "huge.safetensors": b"\xff" * 100,
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            model_file.load(tmp_path / name)
    with pytest.raises(InputError, match="no such model"):
        model_file.load(tmp_path / "gone")
    with pytest.raises(InputError, match="folder"):
        model_file.load(tmp_path)
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="not of Carousel"):
        model_file.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"domain": "smell"},
        {"alphabet": ["a", "a", "b", "c"]},
        {"alphabet": ["a"]},
        {"size": 6},
        {"network": {}},
        {"network": SETTINGS | {"hidden": 10**9}},
        {"network": SETTINGS | {"layers": 10**9}},
        {"network": SETTINGS | {"layers": 1}},
        {"network": SETTINGS | {"cell": "lstm"}},
        {"network": SETTINGS | {"hidden": "6"}},
        {"network": SETTINGS | {"front": "__import__"}},
        {"network": SETTINGS | {"hidden": 10**30}},
        {"network": SETTINGS | {"stride": 0}},
        {"network": CONVOLVED | {"convolutions": [{"channels": 1, "kernel": 3, "stride": 0}]}},
        {"network": CONVOLVED | {"convolutions": [{"channels": 1, "kernel": 3, "stride": -1}]}},
        {"network": CONVOLVED | {"convolutions": 7}},
        {"alphabet": [1, 2, 3, 4]},
        {"card": ["a"]},
        {"card": None},
        {"decoder": ["beam"]},
        {"decoder": {"decoder": []}},
    ],
)
def test_a_description_that_does_not_fit_is_refused(path: Path, changes: dict):
    with pytest.raises(InputError, match="altered") as caught:
        model_file.load(altered(path, **changes))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "7", '{"size": ' + "9" * 5000 + "}"])
def test_a_header_that_is_no_description_is_refused(tmp_path: Path, text: str):
    save_file({"x": torch.zeros(2)}, tmp_path / "odd.safetensors", {"carousel": text})
    with pytest.raises(InputError, match=r"odd.safetensors: a safetensors file, but not of Carousel"):
        model_file.read_header(tmp_path / "odd.safetensors")


def test_a_checkpoint_is_told_from_a_model(path: Path, tmp_path: Path):
    save_file({"x": torch.zeros(2)}, tmp_path / "last.safetensors", {"carousel-training": "{}"})
    assert model_file.is_checkpoint(tmp_path / "last.safetensors") and not model_file.is_checkpoint(path)
    assert not model_file.is_checkpoint(tmp_path / "gone")
    with pytest.raises(InputError, match=r"checkpoint.*best\.safetensors"):
        model_file.load(tmp_path / "last.safetensors")


def test_features_of_another_size_than_the_networks_are_told(path: Path):
    """As where the header's features contradict its size."""
    model = replace(model_file.load(path), path=path)
    with pytest.raises(InputError, match=r"m.safetensors: makes 7 features a frame, and its network takes 5"):
        model.log_probs([np.zeros((9, 7), np.float32)])
