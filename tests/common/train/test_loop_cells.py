"""Trainings with every cell a recipe can name, and with every noise of the recurrence."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from carousel.common.model import file as model_file
from carousel.common.settings.training import CELLS
from carousel.common.train import loop as training
from tests.common import toy

NOISY = [
    {"cell": "lstm", "recurrent_dropout": 0.2, "zoneout": [0.2, 0.1]},
    {"cell": "cifg", "projection": 12, "recurrent_dropout": 0.2, "zoneout": [0.2, 0.1]},
    {"cell": "gru", "recurrent_dropout": 0.2, "zoneout": [0.0, 0.1]},
]


def config_of(folder: Path, network: dict[str, Any], **trainer: Any) -> dict[str, Any]:
    config = toy.settings(folder, **trainer)
    return config | {"network": config["network"] | network}


def run(config: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return training.train(config, toy.read, toy.size, folder)


@pytest.mark.parametrize("network", [{"cell": cell} for cell in CELLS] + NOISY, ids=str)
def test_every_cell_learns_and_its_model_file_loads(network: dict[str, Any], tmp_path: Path):
    best = run(config_of(tmp_path, network, epochs=2, max_frames=500), tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert float(rows[1]["train_loss"]) < 0.9 * float(rows[0]["train_loss"])
    stack = model_file.load(best).network.lstm
    assert stack.cell == network["cell"] and stack.projection == network.get("projection", 0)
    assert list(stack.zoneout) == network.get("zoneout", [0.0, 0.0])


@pytest.mark.parametrize("network", NOISY, ids=lambda network: network["cell"])
def test_resuming_in_the_middle_of_an_epoch_is_exact_with_noise_in_the_recurrence(
    network: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = config_of(tmp_path, network, epochs=2)
    run(config, tmp_path / "whole")
    step, calls = training._Training._step, 0

    def break_off(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(training._Training, "_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "broken")
    monkeypatch.undo()
    run(config | {"resume": True}, tmp_path / "broken")
    whole, resumed = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[k], resumed[k]) for k in whole)
