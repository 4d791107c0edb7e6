"""ConvLSTM and multidimensional LSTM against the equations, place by place, and against the 1-D LSTM."""

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from carousel.common.errors import InputError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.spatial import CORNERS, MDLSTM, ConvLSTM
from carousel.common.train.loop import train
from tests.common import toy

DOUBLE = torch.float64


def filled(layer: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5)
    return layer


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def convolved(weights: torch.Tensor, image: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Σ over the kernel of weights (outputs, inputs, rows, columns) with image (inputs, height, width)."""
    total = weights.new_zeros(len(weights))
    for k in range(weights.shape[2]):
        for m in range(weights.shape[3]):
            r, c = row + k - weights.shape[2] // 2, column + m - weights.shape[3] // 2
            if 0 <= r < image.shape[1] and 0 <= c < image.shape[2]:
                total = total + weights[:, :, k, m] @ image[:, r, c]
    return total


def conv_lstm_by_places(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    """One sequence (frames, inputs, height, width), place by place: equation 3 of Shi et al."""
    sides = []
    for d in range(layer.directions):
        h = c = x.new_zeros(layer.hidden, *x.shape[2:])
        peephole = layer.peephole[d].expand(3, *h.shape)
        frames = []
        for image in x.flip(0) if d else x:
            h_new, c_new = torch.empty_like(h), torch.empty_like(c)
            for row in range(x.shape[2]):
                for column in range(x.shape[3]):
                    z = convolved(layer.inputs[d], image, row, column) + layer.bias[d]
                    z_i, z_f, z_g, z_o = (z + convolved(layer.recurrent[d], h, row, column)).chunk(4)
                    p, old = peephole[:, :, row, column], c[:, row, column]
                    i, f = torch.sigmoid(z_i + p[0] * old), torch.sigmoid(z_f + p[1] * old)
                    new = f * old + i * torch.tanh(z_g)
                    c_new[:, row, column] = new
                    h_new[:, row, column] = torch.sigmoid(z_o + p[2] * new) * torch.tanh(new)
            h, c = h_new, c_new
            frames.append(h)
        sides.append(torch.stack(frames[::-1] if d else frames))
    return torch.cat(sides, dim=1)


def md_lstm_by_places(layer: MDLSTM, x: torch.Tensor) -> torch.Tensor:
    """One image (inputs, height, width), place by place from each corner: Graves' equations."""
    corners = []
    for k, (flip_rows, flip_columns) in enumerate(CORNERS):
        turn = [axis for axis, flip in ((1, flip_rows), (2, flip_columns)) if flip]
        image = x.flip(turn)
        above, left = layer.recurrent[k].chunk(2, dim=1)
        p = layer.peephole[k]
        nothing = x.new_zeros(layer.hidden)
        state = {}
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                h_1, c_1 = state.get((row - 1, column), (nothing, nothing))
                h_2, c_2 = state.get((row, column - 1), (nothing, nothing))
                z = layer.inputs[k] @ image[:, row, column] + above @ h_1 + left @ h_2 + layer.bias[k]
                z_i, z_1, z_2, z_g, z_o = z.chunk(5)
                i = torch.sigmoid(z_i + p[0] * c_1 + p[1] * c_2)
                f_1, f_2 = torch.sigmoid(z_1 + p[2] * c_1), torch.sigmoid(z_2 + p[3] * c_2)
                c = f_1 * c_1 + f_2 * c_2 + i * torch.tanh(z_g)
                state[row, column] = (torch.sigmoid(z_o + p[4] * c) * torch.tanh(c), c)
        rows = [torch.stack([state[r, c][0] for c in range(x.shape[2])], 1) for r in range(x.shape[1])]
        corners.append(torch.stack(rows, 1).flip(turn))
    return torch.cat(corners)


def same_gradients(layer: nn.Module, ours: torch.Tensor, theirs: torch.Tensor, x: torch.Tensor) -> None:
    """Of a sum of squares, for the input and all weights."""
    wanted = [x, *layer.parameters()]
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (ours, theirs)), strict=True):
        assert b.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [None, (3, 4)])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kernel", [3, (1, 5)])
def test_conv_lstm_follows_the_equations_with_values_and_gradients(size, bidirectional, kernel):
    layer = filled(ConvLSTM(2, 3, kernel, size, bidirectional).double())
    lengths = torch.tensor([2, 4, 0, 1])
    x = noise(4, 5, 2, 3, 4).requires_grad_()
    out = layer(x, lengths)
    assert out.shape == (4, 5, layer.outputs, 3, 4)
    rows = [conv_lstm_by_places(layer, x[r, :n]) for r, n in enumerate(lengths) if n]
    for row, length, expected in zip(out[lengths > 0], lengths[lengths > 0], rows, strict=True):
        torch.testing.assert_close(row[:length], expected, rtol=0, atol=1e-12)
    assert all(out[r, n:].abs().sum() == 0 for r, n in enumerate(lengths))
    same_gradients(layer, out, torch.cat([row.flatten() for row in rows]), x)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_conv_lstm_of_single_places_is_the_peephole_lstm(bidirectional: bool):
    layer = filled(ConvLSTM(5, 4, 1, bidirectional=bidirectional).double())
    stack = LSTMStack(5, 4, 1, "peephole", bidirectional).double()
    with torch.no_grad():
        for theirs, ours in zip(stack.parameters(), layer.parameters(), strict=True):
            theirs.copy_(ours.reshape(theirs.shape))
    lengths = torch.tensor([7, 2, 5])
    x = noise(3, 7, 5)
    out = layer(x[..., None, None], lengths)[..., 0, 0]
    torch.testing.assert_close(out, stack(x, lengths), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 3), st.booleans())
def test_padding_changes_nothing_for_conv_lstm(lengths, more, bidirectional):
    layer = filled(ConvLSTM(2, 3, bidirectional=bidirectional))
    x = torch.randn(len(lengths), max(lengths) + more, 2, 4, 3)
    out = layer(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(out[row : row + 1, :length], alone, rtol=0, atol=1e-6)


def test_conv_lstm_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="even"):
        ConvLSTM(2, 3, (3, 4))
    with pytest.raises(InputError, match="3 × 4 places was given images of 4 × 3"):
        ConvLSTM(2, 3, size=(3, 4))(torch.zeros(1, 2, 2, 4, 3), torch.tensor([2]))
    assert ConvLSTM(2, 3)(torch.zeros(2, 3, 2, 4, 3), torch.tensor([0, 0])).shape == (2, 3, 3, 4, 3)


@pytest.mark.parametrize("shape", [(3, 4), (4, 2), (1, 5), (5, 1), (1, 1)])
def test_md_lstm_follows_the_equations_with_values_and_gradients(shape):
    layer = filled(MDLSTM(2, 3).double())
    x = noise(2, 2, *shape).requires_grad_()
    out = layer(x, *(torch.full((2,), n) for n in shape))
    expected = torch.stack([md_lstm_by_places(layer, image) for image in x])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    if min(shape) > 1:  # else the weights of one of the two predecessors are not used
        same_gradients(layer, out, expected, x)


def test_md_lstm_of_a_ragged_batch_has_the_gradients_of_its_images():
    layer = filled(MDLSTM(2, 3).double())
    heights, widths = torch.tensor([2, 4, 3, 0]), torch.tensor([5, 1, 3, 2])
    x = noise(4, 2, 4, 5).requires_grad_()
    out = layer(x, heights, widths)
    alone = [md_lstm_by_places(layer, x[k, :, : heights[k], : widths[k]]) for k in range(3)]
    for k, expected in enumerate(alone):
        torch.testing.assert_close(out[k, :, : heights[k], : widths[k]], expected, rtol=0, atol=1e-12)
        assert out[k].count_nonzero() == expected.numel()
    assert out[3].count_nonzero() == 0
    same_gradients(layer, out, torch.cat([image.flatten() for image in alone]), x)


@pytest.mark.parametrize("layer", [ConvLSTM(1, 2, (3, 1)), MDLSTM(1, 2)])
def test_gradients_pass_gradcheck(layer: nn.Module):
    layer = filled(layer.double())
    if isinstance(layer, ConvLSTM):
        x, sizes = noise(2, 2, 1, 3, 1), [torch.tensor([1, 2])]
    else:
        x, sizes = noise(2, 1, 2, 3), [torch.tensor([2, 1]), torch.tensor([2, 3])]
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, *sizes))

    assert torch.autograd.gradcheck(run, [x.requires_grad_(), *layer.parameters()])


@pytest.mark.parametrize("down", [False, True])
def test_md_lstm_of_one_row_or_column_is_the_one_dimensional_lstm(down: bool):
    layer = filled(MDLSTM(3, 4).double())
    stack = LSTMStack(3, 4, 1, "peephole").double()
    mine = slice(0, 4) if down else slice(4, 8)  # of the recurrent weights: from above, or from the left
    forget = 1 if down else 2
    rows = torch.cat([torch.arange(4) + 4 * gate for gate in (0, forget, 3, 4)])
    peepholes = [0, 2, 4] if down else [1, 3, 4]
    backwards = 2 if down else 1  # the corner that scans the other way
    with torch.no_grad():
        for d, corner in enumerate((0, backwards)):
            stack.inputs[0][d] = layer.inputs[corner][rows]
            stack.recurrent[0][d] = layer.recurrent[corner][rows][:, mine]
            stack.bias[0][d] = layer.bias[corner][rows]
            stack.peephole[0][d] = layer.peephole[corner][peepholes]
    lengths, ones = torch.tensor([6, 2, 4]), torch.ones(3, dtype=torch.long)
    x = noise(3, 6, 3)
    image = x.transpose(1, 2)[..., None] if down else x.transpose(1, 2)[:, :, None]
    out = layer(image, lengths, ones) if down else layer(image, ones, lengths)
    both = out.flatten(2).transpose(1, 2).unflatten(-1, (4, 4))[:, :, [0, backwards]].flatten(2)
    torch.testing.assert_close(both, stack(x, lengths), rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_padding_changes_nothing_for_md_lstm(sizes, more_rows, more_columns):
    layer = filled(MDLSTM(2, 3))
    heights, widths = torch.tensor(sizes).T
    x = torch.randn(len(sizes), 2, int(heights.max()) + more_rows, int(widths.max()) + more_columns)
    for k, (height, width) in enumerate(sizes):
        x[k, :, height:] = float("nan")  # whatever stands there
        x[k, :, :, width:] = float("nan")
    out = layer(x, heights, widths)
    for k, (height, width) in enumerate(sizes):
        inside = (slice(k, k + 1), slice(None), slice(height), slice(width))
        alone = layer(x[inside], heights[k : k + 1], widths[k : k + 1])
        torch.testing.assert_close(out[inside], alone, rtol=0, atol=1e-6)
        assert out[k].count_nonzero() == alone.numel()


def test_md_lstm_takes_as_many_steps_as_there_are_diagonals(monkeypatch):
    products = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: products.append(a.shape) or bmm(a, b))
    MDLSTM(2, 3)(torch.randn(2, 2, 4, 6), torch.tensor([4, 4]), torch.tensor([6, 6]))
    assert len(products) == 4 + 6 - 1
    assert all(shape[0] == 4 and shape[2] == 6 for shape in products)  # all corners, both predecessors
    assert sum(shape[1] for shape in products) == 2 * 4 * 6  # every place once


@pytest.mark.parametrize("kind", [ConvLSTM, MDLSTM])
def test_bf16_stays_near_float32(kind):
    torch.manual_seed(0)
    layer = kind(3, 8)
    x = torch.randn(2, 6, 3, 5, 7) if kind is ConvLSTM else torch.randn(2, 3, 12, 20)
    sizes = [torch.tensor([6, 3])] if kind is ConvLSTM else [torch.tensor([12, 7]), torch.tensor([20, 20])]
    exact = layer(x, *sizes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(x, *sizes)
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.02


def test_a_network_with_an_mdlstm_front_learns(tmp_path: Path):
    config = toy.settings(tmp_path, epochs=8)
    config["optimizer"]["rate"] = 0.01
    config["network"] = {
        "front": "mdlstm",
        "block": [1, 2],
        "levels": [{"hidden": 4, "block": [2, 3], "units": 24}],
        "front_dropout": 0.05,
        "hidden": 16,
        "layers": 1,
    }
    train(config, toy.read, toy.size, tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert float(rows[-1]["valid_cer"]) < 0.1 < float(rows[0]["valid_cer"])
