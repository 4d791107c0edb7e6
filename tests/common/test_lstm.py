import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.errors import InputError
from common.lstm import LSTMStack
from common.lstm.cells import lstm_step, peephole_step
from common.lstm.fused import Steps, carried_sequence, sequence

LENGTHS = torch.tensor([7, 3, 9, 1, 9, 0])


def filled(stack: LSTMStack, seed: int = 0) -> LSTMStack:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in stack.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5)
    return stack


def by_cells(stack: LSTMStack, x: torch.Tensor) -> torch.Tensor:
    """The stack over one sequence (frames, inputs), cell by cell: the equations themselves."""
    for layer, weights in enumerate(stack.inputs):
        sides = []
        for d in range(stack.directions):
            h = c = x.new_zeros(1, stack.hidden)
            outputs = []
            for frame in x.flip(0) if d else x:
                projected = frame[None] @ weights[d].T + stack.bias[layer][d]
                recurrent = stack.recurrent[layer][d]
                if stack.cell == "peephole":
                    h, c = peephole_step(projected, (h, c), recurrent, stack.peephole[layer][d])
                else:
                    h, c = lstm_step(projected, (h, c), recurrent)
                outputs.append(h)
            side = torch.cat(outputs)
            sides.append(side.flip(0) if d else side)
        x = torch.cat(sides, dim=-1)
    return x


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_stack_follows_the_equations_with_values_and_gradients(cell: str, bidirectional: bool):
    stack = filled(LSTMStack(5, 4, 3, cell, bidirectional).double())
    x = torch.randn(len(LENGTHS), 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out = stack(x, LENGTHS)
    rows = [by_cells(stack, x[r, :n]) for r, n in enumerate(LENGTHS) if n]
    for row, length, expected in zip(out[LENGTHS > 0], LENGTHS[LENGTHS > 0], rows, strict=True):
        torch.testing.assert_close(row[:length], expected, rtol=0, atol=1e-12)
        assert row[length:].abs().sum() == 0
    ours = torch.autograd.grad(out.square().sum(), list(stack.parameters()))
    theirs = torch.autograd.grad(sum(r.square().sum() for r in rows), list(stack.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_plain_lstm_is_torchs_on_a_packed_sequence():
    stack = filled(LSTMStack(6, 5, 2))
    oracle = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for layer in range(2):
            for d, suffix in enumerate(("", "_reverse")):
                getattr(oracle, f"weight_ih_l{layer}{suffix}").copy_(stack.inputs[layer][d])
                getattr(oracle, f"weight_hh_l{layer}{suffix}").copy_(stack.recurrent[layer][d])
                getattr(oracle, f"bias_ih_l{layer}{suffix}").copy_(stack.bias[layer][d])
                getattr(oracle, f"bias_hh_l{layer}{suffix}").zero_()
    lengths = torch.tensor([4, 8, 1])
    x = torch.randn(3, 8, 6)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(oracle(packed)[0], batch_first=True)[0]
    torch.testing.assert_close(stack(x, lengths), expected, rtol=0, atol=2e-6)


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


def test_backward_by_hand_passes_gradcheck():
    steps = Steps.of(torch.tensor([3, 1, 4]))
    shapes = ((2, 8, 12), (2, 12, 3), (2, 3, 3))
    arguments = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *a: sequence(*a, steps.counts), arguments)
    start = [torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in "hc"]
    assert torch.autograd.gradcheck(
        lambda *a: carried_sequence(*a[:3], steps.counts, a[3:]), arguments + start
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.sampled_from(["lstm", "peephole"]),
    st.integers(0, 5),
)
def test_padding_changes_nothing(lengths, cell, more):
    stack = filled(LSTMStack(3, 4, 2, cell))
    x = torch.randn(len(lengths), max(lengths) + more, 3)
    out = stack(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = stack(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(out[row : row + 1, :length], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_carried_state_joins_the_chunks_of_ragged_rows(cell: str):
    stack = filled(LSTMStack(5, 4, 2, cell, bidirectional=False).double())
    x = torch.randn(len(LENGTHS), 9, 5, dtype=torch.float64, requires_grad=True)
    whole, last = stack.carry(x, LENGTHS)
    torch.testing.assert_close(whole, stack(x, LENGTHS), rtol=0, atol=1e-12)
    state, chunks = None, []
    for start in range(0, 9, 4):
        out, state = stack.carry(x[:, start : start + 4], (LENGTHS - start).clamp(0, 4), state)
        chunks.append(out)
    torch.testing.assert_close(torch.cat(chunks, 1), whole, rtol=0, atol=1e-12)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert all((h[LENGTHS == 0] == 0).all() and (h[LENGTHS > 0] != 0).all() for h, _ in last)
    weights = list(stack.parameters())
    joined = sum(t.square().sum() for t in [*chunks, *(c for _, c in state)])
    at_once = sum(t.square().sum() for t in [whole, *(c for _, c in last)])
    for a, b in zip(torch.autograd.grad(joined, weights), torch.autograd.grad(at_once, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_carried_state_is_float32_and_needs_one_direction():
    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 0])
    with pytest.raises(InputError, match="bidirectional=false"):
        LSTMStack(3, 4, 1).carry(x, lengths)
    stack = LSTMStack(3, 4, 2, bidirectional=False)
    with torch.autocast("cpu", torch.bfloat16):
        out, state = stack.carry(x, lengths)
        kept, unmoved = stack.carry(x, torch.tensor([0, 0]), state)
    assert out.dtype == torch.float32 and all(t.dtype == torch.float32 for pair in state for t in pair)
    assert kept.abs().sum() == 0 and all(torch.equal(a, b) for a, b in zip(unmoved[0], state[0], strict=True))


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_bf16_stays_near_float32(cell: str):
    torch.manual_seed(0)
    stack = LSTMStack(20, 64, 3, cell)
    lengths = torch.tensor([300, 120, 250])
    x = torch.randn(3, 300, 20)
    exact = stack(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        rough = stack(x, lengths)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().max() < 0.06 and (exact - rough).abs().mean() < 0.004


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_dropout_is_between_layers_only_and_off_in_evaluation(cell: str):
    one, two = LSTMStack(3, 4, 1, cell, dropout=0.5), LSTMStack(3, 4, 2, cell, dropout=0.5)
    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
    assert torch.equal(one(x, lengths), one(x, lengths))
    assert not torch.equal(two(x, lengths), two(x, lengths))
    two.eval()
    assert torch.equal(two(x, lengths), two(x, lengths))
