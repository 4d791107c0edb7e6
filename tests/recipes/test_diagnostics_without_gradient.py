"""The tasks that learn otherwise than by AdamW: what they learn by against oracles, and all in little."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from carousel.common.errors import UsageError
from carousel.common.lstm.cells import lstm_step
from carousel.recipes.diagnostics import breeding, forward_mode, kalman
from carousel.recipes.diagnostics.network import Network, joined, take
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Run, train

TASKS = "carousel.recipes.diagnostics.tasks"


def trained(name: str, variant: str, **settings: Any) -> Run:
    task = import_module(f"{TASKS}.{name}").TASK
    return train(task, replace(task.settings, **dict(task.variants[variant]) | settings), 1, variant)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def test_the_filter_of_a_linear_model_is_least_squares():
    """Recursive least squares: after any number of observations the ridge regression of all of them."""
    x, y = normal(30, 4), normal(30, seed=2)
    weights, variance, noise = [torch.zeros(1, 4, dtype=torch.float64)], 5.0, 0.3
    covariances = kalman.fresh(weights, variance)
    for row, target in zip(x, y, strict=True):
        error = (target - weights[0][0] @ row)[None]
        kalman.update(weights, covariances, [row[None, :, None]], error, noise, 0.0)
    precision = x.T @ x / noise + torch.eye(4) / variance
    torch.testing.assert_close(covariances[0][0], precision.inverse())
    torch.testing.assert_close(weights[0][0], precision.inverse() @ (x.T @ y / noise))


@pytest.mark.parametrize("sizes", [[(1, 6)], [(2, 3)], [(1, 2), (2, 2)]])
def test_decoupled_is_the_filter_of_all_weights_without_covariances_between_groups(sizes):
    """The textbook's: K = PH (HᵀPH + R)⁻¹, P ← P - K HᵀP + Q; of one group it is just that."""
    weights = [normal(*size, seed=3) for size in sizes]
    covariances = kalman.fresh(weights, 2.0)
    w, p = torch.cat([stack.flatten() for stack in weights]), 2 * torch.eye(6, dtype=torch.float64)
    blocks = torch.block_diag(*(torch.ones(size, size) for count, size in sizes for _ in range(count))).bool()
    for time in range(4):
        h, error = normal(6, 2, seed=10 + time), normal(2, seed=20 + time)
        gain = p @ h @ (h.T @ p @ h + 0.5 * torch.eye(2)).inverse()
        w = w + gain @ error
        p = (p - gain @ h.T @ p + 0.1 * torch.eye(6)) * blocks
        parts = h.split([count * size for count, size in sizes])
        slopes = [part.reshape(*size, 2) for part, size in zip(parts, sizes, strict=True)]
        kalman.update(weights, covariances, slopes, error, 0.5, 0.1)
    torch.testing.assert_close(torch.cat([stack.flatten() for stack in weights]), w)
    torch.testing.assert_close(torch.block_diag(*(one for stack in covariances for one in stack)), p)


def test_slopes_carried_forward_are_those_of_autograd():
    """Of all outputs, by all weights of the layer and of the head, after steps enough to go round."""
    task = import_module(f"{TASKS}.kalman")
    inputs, hidden, steps = 3, 4, 9
    layer, head, x = normal(4, hidden, inputs + hidden + 1), normal(2, hidden + 1), normal(steps, inputs)

    def outputs(layer: Tensor, head: Tensor) -> Tensor:
        rows = layer.flatten(0, 1)
        w, recurrent, bias = rows[:, :inputs], rows[:, inputs:-1], rows[:, -1]
        state = (x.new_zeros(1, hidden), x.new_zeros(1, hidden))
        for seen in x:
            state = lstm_step((w @ seen + bias)[None], state, recurrent)
        return (head[:, :-1] @ state[0][0] + head[:, -1]).softmax(0)

    carried = forward_mode.start(layer)
    for seen in x:
        carried = forward_mode.step(layer, seen, carried)
    said, (by_layer, by_head) = task.seen(head, carried, 4 * hidden)
    torch.testing.assert_close(said, outputs(layer, head))
    of_layer, of_head = torch.autograd.functional.jacobian(outputs, (layer, head))
    torch.testing.assert_close(by_layer.permute(2, 0, 1), of_layer.flatten(1, 2))
    torch.testing.assert_close(by_head.permute(2, 0, 1), of_head)


def test_weights_go_out_of_a_network_and_into_another():
    settings = Settings(hidden=5)
    one, two = Network(3, 2, settings), Network(3, 2, settings)
    x, lengths = torch.randn(2, 7, 3, generator=generator()), torch.tensor([7, 7])
    assert not torch.allclose(one(x, lengths)[0], two(x, lengths)[0])
    take(two, joined(one), torch.cat((one.head.weight, one.head.bias[:, None]), dim=1))
    torch.testing.assert_close(one(x, lengths)[0], two(x, lengths)[0])
    with pytest.raises(UsageError, match="cell=lstm alone"):
        joined(Network(3, 2, replace(settings, cell="peephole")))


def test_a_simple_net_goes_on_where_it_was():
    network = Network(2, 3, Settings(hidden=4, cell="rnn"))
    x = torch.randn(2, 9, 2, generator=generator())
    whole, _ = network(x, torch.tensor([9, 9]))
    _, state = network(
        x[:, :6], torch.tensor([6, 4])
    )  # what follows the fourth step of the second is padding
    rest, _ = network(torch.stack((x[0, 6:], x[1, 4:7])), torch.tensor([3, 3]), state)
    torch.testing.assert_close(rest, torch.stack((whole[0, 6:], whole[1, 4:7])))


def test_the_dekf_learns_the_grammar_from_few_symbols():
    """An untrained net, and one whose slopes or gains are wrong, makes a mistake within the first symbols."""
    run = trained("kalman", "dekf", steps=60, check_every=60, test=1000)
    assert run.measured["until"] > 8


def test_many_nets_at_once_are_as_each_alone():
    task = import_module(f"{TASKS}.evolino")
    settings = replace(task.TASK.settings, length=60, sines=2, hidden=3)
    weights = normal(4, 4, 3, 5) / 2
    errors, heads = task.tried(weights, task.wave(settings)[:61], 15)
    for number in range(4):
        network = Network(1, 1, settings).double()
        take(network, weights[number], heads[number][None])
        alone = task.measure(network, settings, generator())
        assert alone["train"] == pytest.approx(float(errors[number]), rel=1e-6)


def test_outputs_are_fitted_by_least_squares():
    """As by the normal equations of the outputs of a network of ours."""
    task = import_module(f"{TASKS}.evolino")
    settings = replace(task.TASK.settings, length=60, sines=3, hidden=3)
    weights = normal(1, 4, 3, 5)
    _, heads = task.tried(weights, task.wave(settings)[:61], 15)
    network = Network(1, 3, settings).double()
    take(network, weights[0], torch.eye(3, 4, dtype=torch.float64))
    drawn = task.batch(settings, 1, generator())
    h = torch.nn.functional.pad(network(drawn.x.double(), drawn.lengths)[0][drawn.asked], (0, 1), value=1.0)
    true = task.wave(settings)[16:61]
    torch.testing.assert_close(heads[0], (h.T @ h).inverse() @ (h.T @ true), rtol=1e-4, atol=1e-6)


def test_the_best_are_kept_and_crossed():
    genomes = torch.arange(2 * 8 * 6, dtype=torch.float64).view(2, 8, 6)
    fitness = normal(2, 8)
    ranked = torch.stack([own[order] for own, order in zip(genomes, fitness.argsort(1).flip(1), strict=True)])
    young = breeding.breed(genomes, fitness, 0.0, generator())
    assert torch.equal(young[:, :4], ranked[:, :4])
    for kind in range(2):
        for gene in range(6):
            assert set(young[kind, 4:, gene].tolist()) <= set(ranked[kind, :2, gene].tolist())
    assert not torch.equal(breeding.breed(genomes, fitness, 0.1, generator())[:, 4:], young[:, 4:])
    around = breeding.burst(ranked[:, 0], 8, 0.1, generator())
    assert torch.equal(around[:, 0], ranked[:, 0]) and (around[:, 1:] != ranked[:, :1]).all()
    order = breeding.drawn(3, 8, generator())
    assert torch.equal(order.sort(1).values, torch.arange(8).expand(3, -1))


def test_two_sines_are_gone_on_with():
    """Who says the mean has an error of 1; a net that forgets all alike, or whose fit is off, runs away."""
    run = trained("evolino", "2 sines", length=200, steps=20, check_every=20)
    assert run.measured["test"] < 0.02
    assert run.curve[-1]["train"] == pytest.approx(run.measured["train"])


def test_mazes_are_as_the_paper_has_them():
    """By the walk of one who goes straight on, bumps once, and turns north."""
    maze = import_module(f"{TASKS}.t_maze")
    plan = iter([maze.WEST, *[maze.EAST] * 4, maze.EAST, maze.NORTH])
    settings = replace(maze.TASK.settings, length=4)
    drawn, right = maze.walk(lambda x: torch.full((len(x),), next(plan)), settings, 20, generator())
    north = (drawn.x[:, 0] == torch.tensor([0.0, 1, 1])).all(1)
    assert north.any() and not north.all() and torch.equal(right, north)
    assert drawn.x.shape == (20, 7, 3) and torch.equal(drawn.x[:, 0], drawn.x[:, 1])
    assert (drawn.x[:, 2:5] == torch.tensor([1.0, 0, 1])).all()
    assert (drawn.x[:, 5:] == torch.tensor([0.0, 1, 0])).all()
    end = torch.where(north, 4.0, -0.1)
    d = maze.DISCOUNT
    torch.testing.assert_close(drawn.targets[:, -1, 1], end)
    torch.testing.assert_close(drawn.targets[:, 0, 1], -0.1 - 0.1 * d**5 + end * d**6)


def test_an_episode_ends_with_the_turn():
    maze = import_module(f"{TASKS}.t_maze")
    settings = replace(maze.TASK.settings, length=2)
    drawn = maze.batch(settings, 50, generator())
    turns = (drawn.targets[..., 0] == maze.NORTH) | (drawn.targets[..., 0] == maze.SOUTH)
    turned = (drawn.x == maze.JUNCTION).all(-1) & turns & drawn.asked
    assert torch.equal(drawn.asked.sum(1), drawn.lengths) and turned.sum(1).max() == 1
    over = turned.any(1)
    assert torch.equal(drawn.lengths[over], turned.long().argmax(1)[over] + 1)
    assert (drawn.lengths[~over] == maze.LIMIT * 2).all()


def test_where_to_turn_is_remembered():
    """Who does not remember the sign has half of the mazes right."""
    run = trained("t_maze", "lstm N5", first=3, steps=300, check_every=50, test=40)
    assert run.solved and run.measured["right"] == 1


def test_what_learns_otherwise_says_what_it_cannot_use():
    with pytest.raises(UsageError, match="batch must be 1"):
        trained("kalman", "dekf", batch=2)
    with pytest.raises(UsageError, match="cell=lstm alone"):
        trained("evolino", "2 sines", cell="gru")
    with pytest.raises(UsageError, match="sines must be at most 5, not 6"):
        trained("evolino", "2 sines", sines=6)
