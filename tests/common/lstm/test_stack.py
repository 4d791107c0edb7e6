"""Whole sequences through the stack, against the cells' equations and against others' layers."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from carousel.common.errors import InputError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import GRU, VARIANTS, Weights, gru_step, normalise, variant_step
from carousel.common.lstm.torch_path.fused import zero_state

LENGTHS = torch.tensor([7, 3, 9, 1, 9, 0])
KINDS: dict[str, dict[str, Any]] = {name: {"cell": name} for name in VARIANTS} | {
    "projected lstm": {"cell": "lstm", "projection": 3},
    "projected peephole": {"cell": "peephole", "projection": 3},
    "projected layer_norm": {"cell": "layer_norm", "projection": 3},
    "lstm by our own path": {"cell": "lstm", "zoneout": (0.0, 1e-300)},
}


def filled(stack: LSTMStack, seed: int = 0) -> LSTMStack:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in stack.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5)
    return stack


def gaps_of(stack: LSTMStack, x: torch.Tensor) -> torch.Tensor | None:
    """Where the cell takes them: growing along the row, so that a shift shows."""
    if not stack.variant.time_gaps:
        return None
    return (torch.arange(x.shape[1], dtype=x.dtype) * 0.7 % 5).expand(x.shape[:2])


def weights_of(stack: LSTMStack, layer: int, direction: int) -> Weights:
    return Weights(*(t if t is None else t[direction] for t in stack._weights(layer, torch.float64)))


def by_cells(
    stack: LSTMStack, x: torch.Tensor, gaps: torch.Tensor | None = None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The stack over one sequence (frames, inputs), cell by cell: the equations themselves, by autograd.

    Returns the outputs and the last states of the last layer, forward and backward one after the other.
    """
    for layer, weights in enumerate(stack.inputs):
        sides, states = [], []
        for d in range(stack.directions):
            w = weights_of(stack, layer, d)
            state = zero_state(stack.variant, w, (1,), x.dtype)
            outputs = []
            for number, frame in enumerate(x.flip(0) if d else x):
                projected = frame[None] @ weights[d].T
                if stack.variant.layer_norm:
                    projected = normalise(projected)[0] * stack.gain_inputs[layer][d]
                projected = projected + stack.bias[layer][d]
                if stack.variant == GRU:
                    state = (gru_step(projected, state[0], w),)
                elif gaps is None:
                    state = variant_step(stack.variant, projected, state, w)
                else:  # backward, the time to a frame is the gap of the frame after it
                    gap = gaps[number] if not d else gaps[-number] if number else gaps[0] * 0
                    state = variant_step(stack.variant, projected, state, w, gap.view(1, 1))
                outputs.append(state[0])
            side = torch.cat(outputs)
            sides.append(side.flip(0) if d else side)
            states += state
        x = torch.cat(sides, dim=-1)
    return x, states


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_stack_follows_the_equations_with_values_and_gradients(kind: str, bidirectional: bool):
    stack = filled(LSTMStack(5, 4, 3, bidirectional=bidirectional, **KINDS[kind]).double())
    x = torch.randn(len(LENGTHS), 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gaps = gaps_of(stack, x)
    out = stack(x, LENGTHS, gaps)
    rows = [
        by_cells(stack, x[r, :n], None if gaps is None else gaps[r, :n])[0]
        for r, n in enumerate(LENGTHS)
        if n
    ]
    for row, length, expected in zip(out[LENGTHS > 0], LENGTHS[LENGTHS > 0], rows, strict=True):
        torch.testing.assert_close(row[:length], expected, rtol=0, atol=1e-12)
        assert row[length:].abs().sum() == 0
    ours = torch.autograd.grad(out.square().sum(), list(stack.parameters()))
    theirs = torch.autograd.grad(sum(r.square().sum() for r in rows), list(stack.parameters()))
    for a, b, (name, _) in zip(ours, theirs, stack.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("projection", [0, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("zoneout", [(0.0, 0.0), (0.0, 1e-30)], ids=["fast", "own"])
def test_lstm_and_gru_are_torchs_on_a_packed_sequence(cell: str, projection: int, zoneout: tuple):
    if cell == "gru" and projection:
        with pytest.raises(InputError, match="projection"):
            LSTMStack(6, 5, 2, cell, projection=projection)
        return
    stack = filled(LSTMStack(6, 5, 3, cell, projection=projection, zoneout=zoneout))
    kind: Any = nn.LSTM if cell == "lstm" else nn.GRU
    more = {"proj_size": projection} if projection else {}
    oracle = kind(6, 5, 3, bidirectional=True, batch_first=True, **more)
    names: list[list[str]] = []  # of torch's weights, by ours
    ours = [stack.inputs, stack.recurrent, stack.bias, *([stack.projected] if projection else [])]
    for several, name in zip(ours, ("weight_ih", "weight_hh", "bias_ih", "weight_hr"), strict=False):
        for layer, weight in enumerate(several):
            names.append([f"{name}_l{layer}{suffix}" for suffix in ("", "_reverse")])
            for d, theirs in enumerate(names[-1]):
                getattr(oracle, theirs).data.copy_(weight[d])
    for layer in range(3):
        for d, suffix in enumerate(("", "_reverse")):
            bias = getattr(oracle, f"bias_hh_l{layer}{suffix}").data.zero_()
            if cell == "gru":
                bias[-5:] = stack.bias_candidate[layer][d]
    lengths = torch.tensor([4, 8, 1, 8])
    x = torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(2))
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(oracle(packed)[0], batch_first=True)[0]
    out = stack(x, lengths)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)
    out.square().sum().backward()
    expected.square().sum().backward()
    weights = [weight for several in ours for weight in several]
    for weight, theirs in zip(weights, names, strict=True):
        both = torch.stack([getattr(oracle, name).grad for name in theirs])
        torch.testing.assert_close(weight.grad, both, rtol=1e-5, atol=1e-5)
    if cell == "gru":
        both = torch.stack([getattr(oracle, f"bias_hh_l0{suffix}").grad[-5:] for suffix in ("", "_reverse")])
        torch.testing.assert_close(stack.bias_candidate[0].grad, both, rtol=1e-5, atol=1e-5)


def test_peephole_of_zeros_is_the_plain_lstm():
    plain, peephole = LSTMStack(6, 4, 2), LSTMStack(6, 4, 2, "peephole")
    peephole.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(len(LENGTHS), 9, 6)
    torch.testing.assert_close(plain(x, LENGTHS), peephole(x, LENGTHS), rtol=0, atol=1e-6)


def test_peephole_is_onnx_runtimes():
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    hidden, inputs, frames, lengths = 4, 3, 7, torch.tensor([7, 2, 5])
    stack = filled(LSTMStack(inputs, hidden, 1, "peephole"))

    def onnx_order(t: torch.Tensor) -> torch.Tensor:  # i, f, g, o → i, o, f, g
        i, f, g, o = t.chunk(4, dim=1)
        return torch.cat((i, o, f, g), dim=1)

    p = stack.peephole[0]
    arrays = {
        "W": onnx_order(stack.inputs[0]),
        "R": onnx_order(stack.recurrent[0]),
        "B": torch.cat((onnx_order(stack.bias[0]), torch.zeros(2, 4 * hidden)), dim=1),
        "P": torch.cat((p[:, 0], p[:, 2], p[:, 1]), dim=1),  # i, o, f
    }
    tensors = [onnx.numpy_helper.from_array(t.detach().numpy(), name) for name, t in arrays.items()]
    names = ["X", "W", "R", "B", "lengths", "", "", "P"]
    node = onnx.helper.make_node("LSTM", names, ["Y"], hidden_size=hidden, direction="bidirectional")
    kinds = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [
            onnx.helper.make_tensor_value_info("X", kinds.FLOAT, [frames, 3, inputs]),
            onnx.helper.make_tensor_value_info("lengths", kinds.INT32, [3]),
        ],
        [onnx.helper.make_tensor_value_info("Y", kinds.FLOAT, [frames, 2, 3, hidden])],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = torch.randn(3, frames, inputs)
    feed = {"X": x.transpose(0, 1).contiguous().numpy(), "lengths": lengths.int().numpy()}
    (y,) = session.run(None, feed)
    expected = torch.from_numpy(y).permute(2, 0, 1, 3).flatten(2)  # (batch, frames, 2 hidden)
    torch.testing.assert_close(stack(x, lengths), expected, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.sampled_from(sorted(KINDS)),
    st.integers(0, 5),
)
def test_padding_changes_nothing(lengths, kind, more):
    stack = filled(LSTMStack(3, 4, 2, **KINDS[kind]).double())
    x = torch.randn(len(lengths), max(lengths) + more, 3, dtype=torch.float64)
    gaps = gaps_of(stack, x)
    out = stack(x, torch.tensor(lengths), gaps)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1), slice(length)
        alone = stack(x[one], torch.tensor([length]), None if gaps is None else gaps[one])
        torch.testing.assert_close(out[one], alone, rtol=0, atol=1e-12)
        assert out[row, length:].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_carried_state_joins_the_chunks_of_ragged_rows(kind: str):
    stack = filled(LSTMStack(5, 4, 2, bidirectional=False, **KINDS[kind]).double())
    x = torch.randn(len(LENGTHS), 9, 5, dtype=torch.float64)
    gaps = gaps_of(stack, x)
    whole, last = stack.carry(x, LENGTHS, gaps=gaps)
    torch.testing.assert_close(whole, stack(x, LENGTHS, gaps), rtol=0, atol=1e-12)
    state, chunks = None, []
    for start in range(0, 9, 4):
        these = slice(None), slice(start, start + 4)
        some = None if gaps is None else gaps[these]
        out, state = stack.carry(x[these], (LENGTHS - start).clamp(0, 4), state, some)
        chunks.append(out)
    torch.testing.assert_close(torch.cat(chunks, 1), whole, rtol=0, atol=1e-12)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    _, expected = by_cells(stack, x[0, :7], None if gaps is None else gaps[0, :7])
    for ours, theirs in zip(last[-1], expected, strict=True):
        torch.testing.assert_close(ours[:1], theirs, rtol=0, atol=1e-12)
    assert all((t[LENGTHS == 0] == 0).all() and (t[LENGTHS > 0] != 0).all() for t in last[0])
    weights = list(stack.parameters())
    joined = sum(t.square().sum() for t in [*chunks, *(t for layer in state for t in layer)])
    at_once = sum(t.square().sum() for t in [whole, *(t for layer in last for t in layer)])
    for a, b in zip(torch.autograd.grad(joined, weights), torch.autograd.grad(at_once, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", ["lstm", "gru", "fgr"])
def test_carried_state_is_float32_and_needs_one_direction(cell: str):
    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 0])
    with pytest.raises(InputError, match="bidirectional=false"):
        LSTMStack(3, 4, 1, cell).carry(x, lengths)
    stack = LSTMStack(3, 4, 2, cell, bidirectional=False)
    with torch.autocast("cpu", torch.bfloat16):
        out, state = stack.carry(x, lengths)
        kept, unmoved = stack.carry(x, torch.tensor([0, 0]), state)
    assert out.dtype == torch.float32 and all(t.dtype == torch.float32 for layer in state for t in layer)
    assert kept.abs().sum() == 0 and all(torch.equal(a, b) for a, b in zip(unmoved[0], state[0], strict=True))


@pytest.mark.parametrize("kind", ["lstm", "peephole", "gru", "cifg", "projected peephole"])
def test_bf16_stays_near_float32_over_three_layers_and_300_frames(kind: str):
    torch.manual_seed(0)
    stack = LSTMStack(20, 64, 3, **KINDS[kind])
    lengths = torch.tensor([300, 120, 250])
    x = torch.randn(3, 300, 20)
    exact = stack(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        rough = stack(x, lengths)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().max() < 0.06 and (exact - rough).abs().mean() < 0.004


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"projected layer_norm"}))
def test_bf16_stays_near_float32_in_values_and_gradients(kind: str):
    """One layer and 20 frames: over more, some cells without training amplify any rounding."""
    torch.manual_seed(0)
    stack = LSTMStack(20, 64, 1, **KINDS[kind])
    lengths = torch.tensor([20, 8, 17])
    x = torch.randn(3, 20, 20)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = stack(x, lengths, gaps_of(stack, x))
        gradients = torch.autograd.grad(out.square().mean(), list(stack.parameters()))
        found.append((out, torch.cat([g.flatten() for g in gradients])))
    (exact, exact_gradient), (rough, rough_gradient) = found
    error = (exact - rough).abs() / exact.abs().max()
    assert 0 < error.max() < 0.05 and error.mean() < 0.002
    assert (exact_gradient - rough_gradient).norm() < 0.03 * exact_gradient.norm()


def test_lengths_and_shapes_that_do_not_fit_are_refused():
    stack, x = LSTMStack(3, 4, 1), torch.randn(2, 5, 3)
    for lengths in ([5, 2], torch.tensor([5.0, 2.0]), torch.tensor([True, False])):
        with pytest.raises(TypeError, match="integers"):
            stack(x, lengths)
    with pytest.raises(ValueError, match="from 2 to 6 for rows of 5 frames"):
        stack(x, torch.tensor([6, 2]))
    with pytest.raises(ValueError, match="from -1 to 2"):
        stack(x, torch.tensor([-1, 2]))
    for lengths in (torch.tensor([5]), torch.tensor(5), torch.tensor([[5, 2]])):
        with pytest.raises(ValueError, match="a length a row"):
            stack(x, lengths)
    for bad in (torch.randn(2, 5, 4), torch.randn(5, 3)):
        with pytest.raises(ValueError, match=r"must be \(batch, frames, 3\)"):
            stack(bad, torch.tensor([5, 2]))
    with pytest.raises(ValueError, match="a gap a frame"):
        LSTMStack(3, 4, 1, "time_aware")(x, torch.tensor([5, 2]), torch.rand(2, 4))


@pytest.mark.parametrize("cell", ["lstm", "peephole", "gru"])
def test_dropout_is_between_layers_only_and_off_in_evaluation(cell: str):
    one, two = LSTMStack(3, 4, 1, cell, dropout=0.5), LSTMStack(3, 4, 2, cell, dropout=0.5)
    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
    assert torch.equal(one(x, lengths), one(x, lengths))
    assert not torch.equal(two(x, lengths), two(x, lengths))
    two.eval()
    assert torch.equal(two(x, lengths), two(x, lengths))
