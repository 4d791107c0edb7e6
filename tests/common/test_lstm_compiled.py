import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.device import has_numba
from common.lstm import LSTMStack
from common.lstm.cells import lstm_step, peephole_step
from common.lstm.fused import Steps

if not has_numba():
    pytest.skip("needs numba", allow_module_level=True)

from common.lstm import compiled, vector

BOTH = {torch.float32: 1e-5, torch.bfloat16: 0.02}  # of the largest entry


def parameters(inputs: int, hidden: int, directions: int, cell: str, seed: int = 0) -> list[torch.Tensor]:
    """W, R, b and for a peephole LSTM P."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,)]
    shapes += [(3, hidden)] if cell == "peephole" else []
    scales = [inputs**-0.5, hidden**-0.5, 0.5, 0.5]
    values = [torch.randn(directions, *shape, generator=generator) for shape in shapes]
    return [(v * s).requires_grad_() for v, s in zip(values, scales, strict=False)]


def by_cells(rows: list[torch.Tensor], weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each row (frames, inputs) through the layer, step by step: the equations themselves."""
    results = []
    for row in rows:
        sides = []
        for d in range(len(weights[0])):
            w, r, b, *p = (t[d] for t in weights)
            h = c = row.new_zeros(1, r.shape[1])
            outputs = []
            for frame in row.flip(0) if d else row:
                projected = frame[None] @ w.T + b
                h, c = peephole_step(projected, (h, c), r, *p) if p else lstm_step(projected, (h, c), r)
                outputs.append(h)
            sides.append(torch.cat(outputs[::-1] if d else outputs))
        results.append(torch.cat(sides, dim=-1))
    return results


def compiled_layer(
    rows: list[torch.Tensor], weights: list[torch.Tensor], dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    steps = Steps.of(lengths)
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    packed = padded.flatten(0, 1)[steps.gather].to(dtype)
    out = compiled.layer(packed, *weights[:3], weights[3] if len(weights) > 3 else None, steps)
    places = [(steps.gather // padded.shape[1] == row).nonzero()[:, 0] for row in range(len(rows))]
    return [out[place].float() for place in places]


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    ("hidden", "directions", "lengths"),
    [(5, 2, [7, 3, 9, 1, 9]), (16, 1, [12]), (80, 2, [6, 9, 2, 9, 9, 4, 5, 6, 3, 1, 2, 3, 8])],
)
def test_values_and_gradients_are_the_cells(monkeypatch, cell, dtype, threads, hidden, directions, lengths):
    monkeypatch.setattr(compiled, "LITTLE", 0)  # the threads are used however small the layer
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        weights = parameters(6, hidden, directions, cell)
        generator = torch.Generator().manual_seed(1)
        rows = [torch.randn(n, 6, generator=generator, requires_grad=True) for n in lengths]
        expected, found = by_cells(rows, weights), compiled_layer(rows, weights, dtype)
        wanted = [torch.randn(e.shape, generator=generator) for e in expected]
        by_autograd, by_hand = (
            torch.autograd.grad(
                sum((a * b).sum() for a, b in zip(out, wanted, strict=True)), [*rows, *weights]
            )
            for out in (expected, found)
        )
    finally:
        torch.set_num_threads(before)
    for a, b in zip([*expected, *by_autograd], [*found, *by_hand], strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=BOTH[dtype] * max(1.0, float(a.detach().abs().max())))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 20), st.sampled_from(list(BOTH)))
def test_a_row_of_a_batch_gives_what_it_gives_alone(lengths, hidden, dtype):
    weights = parameters(3, hidden, 2, "peephole")
    rows = [torch.randn(n, 3) for n in lengths]
    for row, together in zip(rows, compiled_layer(rows, weights, dtype), strict=True):
        (alone,) = compiled_layer([row], weights, dtype)
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6 if dtype == torch.float32 else 0.01)


def test_without_gradients_nothing_is_kept_and_the_values_are_the_same():
    weights = parameters(4, 24, 2, "peephole")
    rows = [torch.randn(n, 4) for n in (5, 8)]
    trained = compiled_layer(rows, weights)
    with torch.no_grad():
        read = compiled_layer(rows, weights)
    assert all(torch.equal(a, b) for a, b in zip(trained, read, strict=True))
    assert trained[0].requires_grad and not read[0].requires_grad


def test_backward_can_be_repeated_but_has_no_second_derivative():
    weights = parameters(4, 16, 1, "lstm")
    (out,) = compiled_layer([torch.randn(5, 4)], weights)
    first, second = (torch.autograd.grad(out.sum(), weights, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    (gradient,) = torch.autograd.grad(out.square().sum(), weights[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("operand", BOTH)
def test_the_stack_is_the_uncompiled_one(monkeypatch, cell: str, operand: torch.dtype):
    monkeypatch.setattr("common.lstm.layers.LITTLE", 0)  # compiled however small the layer
    torch.manual_seed(0)
    stack, lengths = LSTMStack(6, 20, 3, cell), torch.tensor([7, 0, 12, 3])
    x = torch.randn(4, 15, 6)

    def run() -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        with torch.autocast("cpu", torch.bfloat16, enabled=operand == torch.bfloat16):
            out = stack(x, lengths)
        return out, torch.autograd.grad(out.square().sum(), list(stack.parameters()))

    ours, our_gradients = run()
    assert "_LayerBackward" in backward_names(ours)
    monkeypatch.setattr("common.lstm.layers.has_numba", lambda: False)
    plain, plain_gradients = run()
    assert "_LayerBackward" not in backward_names(plain)
    for a, b in zip((ours, *our_gradients), (plain, *plain_gradients), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=BOTH[operand] * max(1.0, float(b.detach().abs().max())))


def backward_names(out: torch.Tensor) -> set[str]:
    names, nodes = set(), [out.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return names


def test_sigmoid_and_tanh_are_exact_to_three_units_in_the_last_place():
    @vector.numba.njit
    def curves(x, by_sigmoid, by_tanh):
        for k in range(0, x.size, 16):
            vector.store(by_sigmoid, k, vector.sigmoid(vector.load(x, k)))
            vector.store(by_tanh, k, vector.tanh(vector.load(x, k)))

    spans = [np.linspace(-s, s, 160_000) for s in (1e-30, 1e-3, 1, 10, 86)]
    x = np.concatenate([*spans, [np.inf, -np.inf, 1e30, -1e30] * 4]).astype(np.float32)
    found = np.empty_like(x), np.empty_like(x)
    curves(x, *found)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(np.float64))), np.tanh(x.astype(np.float64))
    for a, b in zip(found, expected, strict=True):
        near = np.abs(b) > 1e-36  # below, float32 has no full digits left
        assert (np.abs(a - b)[near] <= 3 * np.spacing(np.abs(b[near]).astype(np.float32))).all()
        assert np.abs(a - b).max() < 2e-7


def test_no_number_stays_none():
    weights = parameters(4, 16, 2, "peephole")
    row = torch.randn(6, 4)
    row[3, 2] = float("nan")
    (out,) = compiled_layer([row], weights)
    assert out[3:, :16].isnan().all() and out[:4, 16:].isnan().all()
    assert not out[:3, :16].isnan().any() and not out[4:, 16:].isnan().any()


def test_a_processor_without_the_product_of_pairs_gives_the_same(tmp_path):
    """In a process that compiles for the plainest processor of this architecture."""
    program = (
        "import torch; from tests.common.test_lstm_compiled import *\n"
        "assert not vector.has_bf16_product()\n"
        "torch.manual_seed(0)\n"
        "rows = [torch.randn(n, 6) for n in (5, 8, 2, 3, 6)]\n"
        "out = compiled_layer(rows, parameters(6, 16, 2, 'peephole'), torch.bfloat16)\n"
        f"torch.save(torch.cat(out), {str(tmp_path / 'out.pt')!r})\n"
    )
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    torch.manual_seed(0)
    rows = [torch.randn(n, 6) for n in (5, 8, 2, 3, 6)]
    here = torch.cat(compiled_layer(rows, parameters(6, 16, 2, "peephole"), torch.bfloat16))
    there = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(here, there, rtol=0, atol=0.01)
