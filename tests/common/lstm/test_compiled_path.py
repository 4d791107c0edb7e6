import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from carousel.common.hardware import has_numba
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import GRU, VARIANTS, Variant, Weights, gru_step, normalise, variant_step
from carousel.common.lstm.torch_path.fused import Steps, zero_state

if not has_numba():
    pytest.skip("needs numba", allow_module_level=True)

from carousel.common.lstm.compiled_path import sequence as compiled
from carousel.common.lstm.compiled_path import simd

BOTH = {torch.float32: 1e-5, torch.bfloat16: 0.03}  # of the largest entry
PROJECTED = {f"projected {cell}": cell for cell in ("peephole", "cifg", "fgr", "time_aware")}
KINDS = [*VARIANTS, *PROJECTED]


class Parameters(NamedTuple):
    """Of one layer, both directions."""

    variant: Variant
    inputs: Tensor
    bias: Tensor
    weights: Weights
    gain: Tensor | None  # of W x
    stack: LSTMStack

    @property
    def leaves(self) -> list[Tensor]:
        return [w for w in (self.inputs, self.bias, self.gain, *self.weights) if w is not None]


def parameters(inputs: int, hidden: int, directions: int, kind: str) -> Parameters:
    """Random ones, about as large as they are in a trained network."""
    cell, projection = PROJECTED.get(kind, kind), hidden // 2 + 1 if kind in PROJECTED else 0
    stack = LSTMStack(inputs, hidden, 1, cell, bidirectional=directions == 2, projection=projection)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in stack.named_parameters():
            is_matrix = p.dim() == 3 and not name.startswith("peephole")
            p.copy_(torch.randn(p.shape, generator=generator) * (p.shape[2] ** -0.5 if is_matrix else 0.5))
    gain = stack.gain_inputs[0] if stack.variant.layer_norm else None
    return Parameters(stack.variant, stack.inputs[0], stack.bias[0], stack._weights(0), gain, stack)


def gaps_between(row: Tensor) -> Tensor:
    """(frames,) any times, the same each time."""
    return torch.arange(len(row)) % 5 / 2


def by_cells(rows: list[Tensor], p: Parameters, start: list[tuple[Tensor, ...]] | None = None) -> tuple:
    """Each row (frames, inputs) through the layer, step by step: the equations themselves.

    start: of each direction a state of the rows. Returns outputs, and of each direction the last states.
    """
    sides: list[list[Tensor]] = []
    ends = []
    for d in range(len(p.inputs)):
        w = Weights(*(None if t is None else t[d] for t in p.weights))
        state = start[d] if start else zero_state(p.variant, w, (len(rows),), torch.float32)
        outputs, lasts = [], []
        for row, one in zip(rows, zip(*state, strict=True), strict=True):
            now, h = tuple(t[None] for t in one), []
            gaps = gaps_between(row)
            gaps = torch.cat((torch.zeros(1), gaps[1:].flip(0))) if d else gaps
            for frame, gap in zip(row.flip(0) if d else row, gaps, strict=True):
                projected = frame[None] @ p.inputs[d].T
                if p.gain is not None:
                    projected = normalise(projected)[0] * p.gain[d]
                projected = projected + p.bias[d]
                if p.variant == GRU:
                    now = (gru_step(projected, now[0], w),)
                else:
                    now = variant_step(p.variant, projected, now, w, gap[None, None])
                h.append(now[0])
            outputs.append(torch.cat(h[::-1] if d else h))
            lasts.append(now)
        sides.append(outputs)
        ends.append(tuple(torch.cat(parts) for parts in zip(*lasts, strict=True)))
    return [torch.cat(both, dim=-1) for both in zip(*sides, strict=True)], ends


def compiled_layer(
    rows: list[Tensor],
    p: Parameters,
    dtype: torch.dtype = torch.float32,
    start: list[tuple[Tensor, ...]] | None = None,
) -> tuple:
    """As `by_cells`."""
    steps = Steps.of(torch.tensor([len(row) for row in rows]))
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    packed = padded.flatten(0, 1)[steps.gather].to(dtype)
    states = tuple(torch.stack(part)[:, steps.order] for part in zip(*start, strict=True)) if start else None
    gaps = None
    if p.variant.time_gaps:
        gaps = nn.utils.rnn.pad_sequence([gaps_between(row) for row in rows], batch_first=True)
        gaps = p.stack._packed_gaps(gaps.flatten()[steps.gather], steps)
    out, ends = compiled.layer(
        p.variant, packed, p.inputs, p.bias, p.weights, steps, states, p.gain, gaps=gaps
    )
    places = [(steps.gather // padded.shape[1] == row).nonzero()[:, 0] for row in range(len(rows))]
    back = steps.order.argsort()
    lasts = [tuple(end[d, back] for end in ends) for d in range(len(p.inputs))]
    return [out[place].float() for place in places], lasts


def assert_near(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=BOTH[dtype] * max(1.0, float(a.detach().abs().max())))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(
    ("hidden", "directions", "lengths"),
    [(5, 2, [7, 3, 9, 1, 9]), (16, 1, [12]), (80, 2, [6, 9, 2, 9, 9, 4, 5, 6, 3, 1, 2, 3, 8])],
)
def test_values_and_gradients_are_the_cells(kind, dtype, hidden, directions, lengths):
    """With states before and after, and gradients through all of them."""
    p = parameters(6, hidden, directions, kind)
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(n, 6, generator=generator, requires_grad=True) for n in lengths]
    w = Weights(*(None if t is None else t[0] for t in p.weights))
    zeros = zero_state(p.variant, w, (len(rows),), torch.float32)
    start = [
        tuple((torch.randn(t.shape, generator=generator) * 0.5).requires_grad_() for t in zeros)
        for _ in range(directions)
    ]
    results = [
        [*outputs, *(t for one_way in ends for t in one_way)]
        for outputs, ends in (by_cells(rows, p, start), compiled_layer(rows, p, dtype, start))
    ]
    factors = [torch.randn(t.shape, generator=generator) for t in results[0]]
    leaves = [*rows, *p.leaves, *(t for one_way in start for t in one_way)]
    by_autograd, by_hand = (
        torch.autograd.grad(sum((a * b).sum() for a, b in zip(out, factors, strict=True)), leaves)
        for out in results
    )
    assert_near(results[1], results[0], dtype)
    assert_near(by_hand, by_autograd, dtype)


@pytest.mark.parametrize("kind", ["peephole", "gru", "projected fgr", "layer_norm", "time_aware"])
@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing(monkeypatch, kind, threads):
    monkeypatch.setattr(compiled, "LITTLE", 0)  # the threads are used however small the layer
    p = parameters(6, 40, 2, kind)
    rows = [torch.randn(n, 6, requires_grad=True) for n in (6, 9, 2, 9, 9, 4, 5, 6, 3, 1, 2, 3, 8, 7, 7)]
    w = Weights(*(None if t is None else t[0] for t in p.weights))
    zeros = zero_state(p.variant, w, (len(rows),), torch.float32)
    start = [tuple(torch.randn_like(t).requires_grad_() for t in zeros) for _ in range(2)]
    leaves = [*rows, *p.leaves, *start[0], *start[1]]
    before, results = torch.get_num_threads(), []
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            outputs, ends = compiled_layer(rows, p, start=start)
            outputs = [*outputs, *ends[0], *ends[1]]
            results.append([*outputs, *torch.autograd.grad(sum(t.square().sum() for t in outputs), leaves)])
    finally:
        torch.set_num_threads(before)
    assert_near(results[1], results[0], torch.float32)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=9),
    st.integers(1, 20),
    st.sampled_from(list(BOTH)),
    st.sampled_from(["peephole", "gru", "projected fgr", "layer_norm", "time_aware"]),
)
def test_a_row_of_a_batch_gives_what_it_gives_alone(lengths, hidden, dtype, kind):
    torch.manual_seed(0)
    p = parameters(3, hidden, 2, kind)
    rows = [torch.randn(n, 3) for n in lengths]
    for row, together in zip(rows, compiled_layer(rows, p, dtype)[0], strict=True):
        ((alone,), _) = compiled_layer([row], p, dtype)
        torch.testing.assert_close(together, alone, rtol=0, atol=BOTH[dtype])


def test_without_gradients_nothing_is_kept_and_the_values_are_the_same():
    p = parameters(4, 24, 2, "projected peephole")
    rows = [torch.randn(n, 4) for n in (5, 8)]
    trained, _ = compiled_layer(rows, p)
    with torch.no_grad():
        read, _ = compiled_layer(rows, p)
    assert all(torch.equal(a, b) for a, b in zip(trained, read, strict=True))
    assert trained[0].requires_grad and not read[0].requires_grad


@pytest.mark.parametrize("kind", ["lstm", "projected peephole", "layer_norm"])
def test_backward_can_be_repeated_but_has_no_second_derivative(kind):
    p = parameters(4, 16, 1, kind)
    ((out,), _) = compiled_layer([torch.randn(5, 4)], p)
    factor = torch.randn_like(out)
    first, second = (torch.autograd.grad(out, p.leaves, factor, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    (gradient,) = torch.autograd.grad(out.square().sum(), p.inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("kind", "dropout"),
    [*((kind, 0.0) for kind in KINDS), *((kind, 0.4) for kind in ("gru", "fgr", *PROJECTED, "layer_norm"))],
)
@pytest.mark.parametrize("operand", BOTH)
def test_the_stack_is_the_uncompiled_one(monkeypatch, kind: str, operand: torch.dtype, dropout: float):
    """Also with recurrent dropout, from the same seed."""
    monkeypatch.setattr("carousel.common.lstm.stack.LITTLE", 0)  # compiled however small the layer
    torch.manual_seed(0)
    more = {"projection": 9} if kind in PROJECTED else {}
    more["recurrent_dropout"] = dropout
    layers = 1 if kind == "layer_norm" else 3  # small products divided by their deviation: errors grow
    stack, lengths = LSTMStack(6, 20, layers, PROJECTED.get(kind, kind), **more), torch.tensor([7, 0, 12, 3])
    x = torch.randn(4, 15, 6)
    gaps = torch.rand(4, 15) * 5 if stack.variant.time_gaps else None

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=operand == torch.bfloat16):
            out = stack(x, lengths, gaps)
        return out, torch.autograd.grad(out.square().sum(), list(stack.parameters()))

    ours, our_gradients = run()
    assert "_LayerBackward" in backward_names(ours)
    monkeypatch.setattr("carousel.common.lstm.stack.has_numba", lambda: False)
    plain, plain_gradients = run()
    assert "_LayerBackward" not in backward_names(plain)
    tolerance = BOTH[operand] * (2 if dropout else 1)  # what is kept is larger
    for a, b in zip((ours, *our_gradients), (plain, *plain_gradients), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("kind", ["gru", "fgr", "projected fgr", "layer_norm"])
def test_states_are_not_dropped_where_the_recurrence_is(monkeypatch, kind: str):
    torch.manual_seed(0)
    more = {"projection": 9} if kind in PROJECTED else {}
    stack = LSTMStack(6, 20, 2, PROJECTED.get(kind, kind), bidirectional=False, recurrent_dropout=0.4, **more)
    x, lengths = torch.randn(4, 15, 6), torch.tensor([7, 0, 12, 3])
    start = [tuple(torch.randn_like(t).requires_grad_() for t in layer) for layer in stack.fresh(4)]
    leaves = [*stack.parameters(), *(t for layer in start for t in layer)]
    results = []
    for is_compiled in (True, False):
        torch.manual_seed(1)
        monkeypatch.setattr("carousel.common.lstm.stack.has_numba", lambda there=is_compiled: there)
        out, ends = stack.carry(x, lengths, start)
        assert ("_LayerBackward" in backward_names(out)) == is_compiled
        found = [out, *(t for layer in ends for t in layer)]
        results.append([*found, *torch.autograd.grad(sum(t.square().sum() for t in found), leaves)])
    assert_near(*results, torch.float32)


@pytest.mark.parametrize("kind", ["lstm", "gru", "nog", "fgr", "layer_norm"])
@pytest.mark.parametrize("operand", BOTH)
def test_states_join_the_chunks_of_ragged_rows(kind: str, operand: torch.dtype):
    torch.manual_seed(0)
    stack, lengths = LSTMStack(6, 20, 2, kind, bidirectional=False), torch.tensor([16, 0, 24, 3])
    x = torch.randn(4, 24, 6)
    with torch.autocast("cpu", torch.bfloat16, enabled=operand == torch.bfloat16):
        whole, last = stack.carry(x, lengths)
        state, chunks = None, []
        for begin in range(0, 24, 8):
            out, state = stack.carry(x[:, begin : begin + 8], (lengths - begin).clamp(0, 8), state)
            chunks.append(out)
    assert "_LayerBackward" in backward_names(whole)
    joined = [torch.cat(chunks, 1), *(t for layer in state for t in layer)]
    at_once = [whole, *(t for layer in last for t in layer)]
    weights = list(stack.parameters())
    gradients = [torch.autograd.grad(sum(t.square().sum() for t in a), weights) for a in (joined, at_once)]
    assert_near(joined, at_once, operand)
    assert_near(*gradients, operand)


def test_what_steps_few_frames_or_is_noisy_is_not_compiled():
    for stack, frames, is_compiled in (
        (LSTMStack(3, 4, 1, "peephole"), 8, True),
        (LSTMStack(3, 4, 1, "peephole"), 2, False),
        (LSTMStack(3, 4, 1, "peephole").double(), 8, False),
        (LSTMStack(3, 4, 1, "peephole", zoneout=(0.0, 0.1)), 8, False),
        (LSTMStack(3, 4, 1, "peephole", recurrent_dropout=0.1), 8, True),
        (LSTMStack(3, 4, 1, "layer_norm", projection=2), 8, False),
    ):
        x = torch.randn(2, frames, 3, dtype=stack.bias[0].dtype)
        out = stack(x, torch.tensor([frames, 1]))
        assert ("_LayerBackward" in backward_names(out)) == is_compiled


def backward_names(out: Tensor) -> set[str]:
    names, nodes = set(), [out.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return names


def test_sigmoid_and_tanh_are_exact_to_three_units_in_the_last_place():
    @simd.numba.njit
    def curves(x, by_sigmoid, by_tanh):
        for k in range(0, x.size, 16):
            simd.store(by_sigmoid, k, simd.sigmoid(simd.load(x, k)))
            simd.store(by_tanh, k, simd.tanh(simd.load(x, k)))

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


@pytest.mark.parametrize("kind", ["peephole", "gru", "layer_norm"])
def test_no_number_stays_none(kind):
    row = torch.randn(6, 4)
    row[3, 2] = float("nan")
    ((out,), _) = compiled_layer([row], parameters(4, 16, 2, kind))
    assert out[3:, :16].isnan().all() and out[:4, 16:].isnan().all()
    assert not out[:3, :16].isnan().any() and not out[4:, 16:].isnan().any()


def test_a_processor_without_the_product_of_pairs_gives_the_same(tmp_path):
    """In a process that compiles for the plainest processor of this architecture; a second one need not."""
    program = (
        "import torch; from tests.common.lstm.test_compiled_path import *\n"
        'assert not simd.processor_has("avx512bf16")\n'
        "torch.manual_seed(0)\n"
        "rows = [torch.randn(n, 6) for n in (5, 8, 2, 3, 6)]\n"
        "out, _ = compiled_layer(rows, parameters(6, 16, 2, 'peephole'), torch.bfloat16)\n"
        f"torch.save(torch.cat(out), {str(tmp_path / 'out.pt')!r})\n"
    )
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    program += (
        # a variant's type is found again among the files of the cache
        "stats = compiled.kernels.forward.stats\n"
        "assert sum(stats.cache_hits.values()) == 1 and not stats.cache_misses, stats\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    torch.manual_seed(0)
    rows = [torch.randn(n, 6) for n in (5, 8, 2, 3, 6)]
    here = torch.cat(compiled_layer(rows, parameters(6, 16, 2, "peephole"), torch.bfloat16)[0])
    there = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(here, there, rtol=0, atol=0.01)
