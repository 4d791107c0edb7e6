"""The mean of models, and what cannot be averaged."""

from pathlib import Path

import pytest
import torch

from carousel.common.cli.prepare import run
from carousel.common.model import file as model_file
from carousel.recipes import average
from tests.tiny import tiny_model, with_features


def test_weights_are_the_mean(tmp_path: Path):
    paths = [
        tiny_model(tmp_path / f"{seed}.safetensors", "ink", seed=seed, results="any") for seed in (1, 2, 3)
    ]
    output = tmp_path / "mean.safetensors"
    assert run(average, [str(output), *map(str, paths)]) == 0
    found, *parts = (model_file.load(path) for path in (output, *paths))
    for name, tensor in found.network.state_dict().items():
        mean = sum(part.network.state_dict()[name] for part in parts) / 3
        torch.testing.assert_close(tensor, mean, atol=4e-3, rtol=1e-3)  # kept in half precision
    assert found.card == {"name": "mean", "averaged": [str(path) for path in paths]}


def test_models_of_other_kinds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one = tiny_model(tmp_path / "one.safetensors", "speech")
    letters = tiny_model(tmp_path / "letters.safetensors", "speech", symbols=" xyz")
    other = with_features(one, hop=0.02)
    for path, what in ((letters, "alphabet"), (other, "features")):
        assert run(average, [str(tmp_path / "mean.safetensors"), str(one), str(path)]) == 1
        assert f"{path}: differs from {one} in {what}" in capsys.readouterr().err
    assert run(average, [str(tmp_path / "mean.safetensors"), str(one)]) == 1
    assert "one model has no mean" in capsys.readouterr().err
    assert not (tmp_path / "mean.safetensors").exists()


def test_only_what_acts_in_reading_must_agree():
    one = {"domain": "ink", "alphabet": ["a"], "features": {}, "network": {"hidden": 8, "dropout": 0.1}}
    assert not average.differences(one, {**one, "network": {"hidden": 8, "dropout": 0.4, "zoneout": 0.0}})
    assert average.differences(one, {**one, "network": {"hidden": 9, "dropout": 0.1}}) == ["network.hidden"]
