"""Steps of training: their order in every precision, and the noise on the weights."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from carousel.common.settings.training import PRECISIONS
from carousel.common.train import loop as training
from carousel.common.train.optimizers import step, weight_noise
from tests.common import toy


def half_fabric() -> Any:
    """Fabric with autocast to float16 and a scaled loss on the CPU, which it gives to GPUs only."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu")])
    fabric.launch()
    return fabric


def losses(folder: Path) -> list[float]:
    return [float(row["train_loss"]) for row in csv.DictReader(open(folder / "metrics.csv"))]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_learns(precision: str, tmp_path: Path):
    config = toy.settings(tmp_path, epochs=4, precision=precision)
    training.train(config, toy.read, toy.size, tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < 0.4 * losses(tmp_path / "run")[0]


def test_float16_with_a_scaled_loss_learns_as_float32_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = toy.settings(tmp_path, epochs=4)
    # not Adam, to which a gradient that was clipped before it was unscaled is as good
    config["optimizer"] |= {
        "kind": "sgd",
        "rate": 0.2,
        "momentum": 0.9,
        "schedule": "constant",
        "warmup": 0.0,
    }
    training.train(config, toy.read, toy.size, tmp_path / "plain")
    monkeypatch.setattr(training, "make_fabric", lambda trainer: half_fabric())
    training.train(config, toy.read, toy.size, tmp_path / "half")
    plain, half = losses(tmp_path / "plain"), losses(tmp_path / "half")
    assert half[-1] == pytest.approx(plain[-1], rel=0.2) and half[-1] < 0.8 * half[0]


def test_a_scaled_training_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from safetensors.torch import load_file

    monkeypatch.setattr(training, "make_fabric", lambda trainer: half_fabric())
    config = toy.settings(tmp_path, epochs=2)
    training.train(config, toy.read, toy.size, tmp_path / "whole")
    one, calls = training._Training._step, 0

    def break_off(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        one(self, *arguments)

    monkeypatch.setattr(training._Training, "_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, toy.read, toy.size, tmp_path / "broken")
    monkeypatch.setattr(training._Training, "_step", one)
    training.train(config | {"resume": True}, toy.read, toy.size, tmp_path / "broken")
    whole, broken = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def gradients_of(fabric: Any, scale: float) -> tuple[Any, Any]:
    torch.manual_seed(1)
    module, optimizer = fabric.setup(
        layer := torch.nn.Linear(3, 1), torch.optim.SGD(layer.parameters(), lr=1.0)
    )
    fabric.backward((scale * module(torch.ones(2, 3))).sum())
    return module, optimizer


def test_gradients_are_clipped_after_they_are_unscaled():
    fabric = half_fabric()
    module, optimizer = gradients_of(fabric, 0.125)
    before = [p.detach().clone() for p in module.parameters()]
    assert step(fabric, module, optimizer, clip=0.01)
    steps = [(p.detach() - q).square().sum() for p, q in zip(module.parameters(), before, strict=True)]
    moved = math.sqrt(sum(map(float, steps)))
    assert moved == pytest.approx(0.01, rel=1e-2)


def test_an_overflow_costs_one_step_and_not_those_after_it():
    fabric = half_fabric()
    module, optimizer = gradients_of(fabric, 3.0)  # 2 × 3 × 65,536 is beyond float16
    before = [p.detach().clone() for p in module.parameters()]
    taken = [step(fabric, module, optimizer, clip=5.0)]
    assert not taken[0] and all(map(torch.equal, module.parameters(), before))
    for _ in range(4):
        fabric.backward((3.0 * module(torch.ones(2, 3))).sum())
        taken.append(step(fabric, module, optimizer, clip=5.0))
    assert taken[-1] and not all(map(torch.equal, module.parameters(), before))


def test_weight_noise_leaves_the_weights_exactly_as_they_were():
    torch.manual_seed(1)
    network = torch.nn.Linear(50, 50)
    before = [p.detach().clone() for p in network.parameters()]
    for _ in range(20):
        with weight_noise(network, 0.075):
            assert not torch.equal(network.weight, before[0])
    assert all(map(torch.equal, network.parameters(), before))
    with pytest.raises(KeyboardInterrupt), weight_noise(network, 0.075):
        raise KeyboardInterrupt
    assert all(map(torch.equal, network.parameters(), before))
