"""The diagnostic tasks, small: each threshold is one that a broken cell misses."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch

from carousel.recipes.diagnostics.__main__ import TASKS
from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.task import Run, Task, train


def task(name: str) -> Task:
    return import_module(f"carousel.recipes.diagnostics.tasks.{name}").TASK


def trained(name: str, variant: str | None = None, **settings: Any) -> Run:
    """A training from seed 1, of a variant or of the task as it is."""
    one = task(name)
    own = one.variants[variant] if variant is not None else {}
    return train(one, replace(one.settings, **dict(own) | settings), seed=1)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TASKS)
def test_batches_and_networks_fit_each_other(name: str):
    """And the loss has a gradient by every weight."""
    one = task(name)
    for own in one.variants.values():
        settings = replace(one.settings, **{**own, "length": 12})
        drawn = one.batch(settings, 3, generator())
        network = Network(*one.sizes(settings), settings)
        outputs, _ = network(drawn.x, drawn.lengths)
        assert outputs.shape[:2] == drawn.targets.shape[:2] == drawn.asked.shape
        assert drawn.asked.any(1).all() and not (drawn.asked.sum(1) > drawn.lengths).any()
        one.loss(outputs, drawn).backward()
        assert all(weight.grad is not None for weight in network.parameters())
        again = one.batch(settings, 3, generator())
        assert torch.equal(again.x, drawn.x) and torch.equal(again.targets, drawn.targets)


def test_the_gradient_vanishes_explodes_or_flows():
    back = {
        variant: trained("gradient_flow", variant, length=120, test=2).measured["100 back"]
        for variant in ("rnn 0.9", "rnn 2", "lstm1997", "lstm bias 1", "lstm bias 5", "gru bias 1")
    }
    assert back["rnn 0.9"] < 1e-6 and back["gru bias 1"] < 1e-6 and back["lstm bias 1"] < 1e-3
    assert back["rnn 2"] > 1e3
    assert 1e-3 < back["lstm bias 5"] < 1e3 and 1e-5 < back["lstm1997"] < 1e3
