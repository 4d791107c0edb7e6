"""Every cell, packed, against its one step; regularisation of the recurrence; what a stack is made of."""

from typing import Any

import pytest
import torch
from torch import nn

from carousel.common.errors import InputError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import (
    GRU,
    VARIANTS,
    Weights,
    gru_step,
    lstm_step,
    peephole_step,
    variant_step,
)
from carousel.common.lstm.torch_path import gru
from carousel.common.lstm.torch_path.fused import Steps, run, sequence, zero_state
from carousel.common.lstm.torch_path.step import Noise
from carousel.common.settings.training import CELLS

LENGTHS = torch.tensor([2, 1, 3])
HIDDEN, DIRECTIONS, FRAMES = 2, 2, 6
PROJECTED = {f"projected {cell}": cell for cell in ("lstm", "peephole", "fgr", "layer_norm", "time_aware")}
KINDS = [*VARIANTS, *PROJECTED]


def parts(kind: str) -> dict[str, Any]:
    """Random weights, start, noise and gaps of a packed batch of `LENGTHS`, float64."""
    torch.manual_seed(0)
    projection = 3 if kind in PROJECTED else 0
    cell = PROJECTED.get(kind, kind)
    stack = LSTMStack(1, HIDDEN, 1, cell, projection=projection).double()
    weights = Weights(*(t if t is None else torch.randn_like(t) for t in stack._weights(0, torch.float64)))
    variant, outputs = VARIANTS[cell], projection or HIDDEN
    packed = (DIRECTIONS, FRAMES)
    zeros = zero_state(variant, weights, (DIRECTIONS, len(LENGTHS)), torch.float64)
    return {
        "variant": variant,
        "projected": torch.randn(*packed, len(variant.gates) * HIDDEN, dtype=torch.float64),
        "weights": weights,
        "start": tuple(torch.randn_like(t) for t in zeros),
        "noise": Noise(
            nn.functional.dropout(torch.ones(DIRECTIONS, len(LENGTHS), outputs, dtype=torch.float64), 0.4),
            torch.rand(*packed, outputs, dtype=torch.float64).round(decimals=1),
            torch.rand(*packed, HIDDEN, dtype=torch.float64).bernoulli() if variant != GRU else None,
        ),
        "gaps": torch.rand(*packed, 1, dtype=torch.float64) * 3 if variant.time_gaps else None,
    }


def fused(variant: Any, projected: Any, weights: Any, start: Any, noise: Any, gaps: Any) -> tuple:
    counts = Steps.of(LENGTHS).counts
    if variant == GRU:
        return (gru.run(projected, weights, counts, start[0], noise),)
    return run(variant, projected, weights, counts, start, noise, gaps)


def stepped(variant: Any, projected: Any, weights: Any, start: Any, noise: Any, gaps: Any) -> tuple:
    """As `fused`: one row after the other, one step after the other, by autograd."""
    steps = Steps.of(LENGTHS)
    states: list[list[Any]] = [[None] * FRAMES for _ in range(DIRECTIONS)]
    for d in range(DIRECTIONS):
        for rank in range(len(LENGTHS)):
            w = Weights(*(t if t is None else t[d] for t in weights))
            if noise.dropout is not None:  # R (m h) = (R m) h
                w = w._replace(recurrent=w.recurrent * noise.dropout[d, rank])
            state = tuple(t[d, rank : rank + 1] for t in start)
            offset = 0
            for count in steps.counts:
                if rank >= count:
                    break
                here = d, slice(offset + rank, offset + rank + 1)
                if variant == GRU:
                    new = (gru_step(projected[here], state[0], w),)
                else:
                    gap = None if gaps is None else gaps[here]
                    new = variant_step(variant, projected[here], state, w, gap)
                keeps = noise.keep_h, noise.keep_c, None
                state = tuple(
                    n if keep is None else keep[here] * old + (1 - keep[here]) * n
                    for old, n, keep in zip(state, new, keeps, strict=False)
                )
                states[d][offset + rank] = state
                offset += count
    return tuple(
        torch.stack([torch.cat([frame[k] for frame in one_way]) for one_way in states])
        for k in range(len(start))
    )


def leaves(given: dict[str, Any]) -> list[torch.Tensor]:
    tensors = [given["projected"], *given["weights"], *given["start"]]
    return [t.requires_grad_() for t in tensors if t is not None]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_steps_are_the_cells_own_with_values_and_gradients(kind: str, noisy: bool):
    given = parts(kind)
    given["noise"] = given["noise"] if noisy else Noise()
    inputs = leaves(given)
    ours, theirs = fused(**given), stepped(**given)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    factors = [torch.randn_like(t) for t in ours]
    gradients = [
        torch.autograd.grad(sum((t * f).sum() for t, f in zip(states, factors, strict=True)), inputs)
        for states in (ours, theirs)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_backward_by_hand_passes_gradcheck(kind: str):
    given = parts(kind)
    inputs = leaves(given)

    def function(*_: torch.Tensor) -> tuple:  # gradcheck changes the tensors themselves
        return fused(**given)

    assert torch.autograd.gradcheck(function, inputs)


def test_sequence_of_the_peephole_lstm_passes_gradcheck_and_has_zeros_for_the_plain_one():
    counts = Steps.of(LENGTHS).counts
    shapes = ((2, FRAMES, 12), (2, 12, 3), (2, 3, 3))
    arguments = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *a: sequence(*a, counts), arguments)
    plain = run(VARIANTS["lstm"], arguments[0], Weights(arguments[1]), counts)[0]
    torch.testing.assert_close(sequence(*arguments[:2], torch.zeros_like(arguments[2]), counts), plain)


def test_the_table_holds_the_papers_equations():
    """Those that are written out, and how Greff's variants follow from the whole cell."""
    torch.manual_seed(0)
    z, h, c = torch.randn(2, 12), torch.randn(2, 3), torch.randn(2, 3)
    r, p = torch.randn(12, 3), torch.randn(3, 3)
    whole = variant_step(VARIANTS["peephole"], z, (h, c), Weights(r, p))
    torch.testing.assert_close(whole, peephole_step(z, (h, c), r, p))
    plain = variant_step(VARIANTS["lstm"], z, (h, c), Weights(r))
    torch.testing.assert_close(plain, lstm_step(z, (h, c), r))
    torch.testing.assert_close(plain, variant_step(VARIANTS["np"], z, (h, c), Weights(r)))
    at = {name: slice(3 * k, 3 * k + 3) for k, name in enumerate("ifgo")}
    for cell, missing in (("nig", "i"), ("nfg", "f"), ("nog", "o")):  # a bias of 100 opens a gate for good
        opened = z.clone()
        opened[:, at[missing]] += 1e3
        rest = [k for k in range(12) if not at[missing].start <= k < at[missing].stop]
        weights = Weights(r[rest], p[["ifo".index(name) for name in "ifo" if name != missing]])
        ours = variant_step(VARIANTS[cell], z[:, rest], (h, c), weights)
        torch.testing.assert_close(ours, peephole_step(opened, (h, c), r, p))
    i, g, o = (z + h @ r.T)[:, at["i"]], (z + h @ r.T)[:, at["g"]], (z + h @ r.T)[:, at["o"]]
    i = torch.sigmoid(i + p[0] * c)
    new = (1 - i) * c + i * torch.tanh(g)
    rest = [k for k in range(12) if not 3 <= k < 6]
    ours = variant_step(VARIANTS["cifg"], z[:, rest], (h, c), Weights(r[rest], p[[0, 2]]))
    torch.testing.assert_close(ours, (torch.sigmoid(o + p[2] * new) * torch.tanh(new), new))


def test_time_fades_the_short_term_memory_alone():
    torch.manual_seed(0)
    z, h, c, r, decay, bias = (
        torch.randn(shape, dtype=torch.float64) for shape in ((2, 12), (2, 3), (2, 3), (12, 3), (3, 3), (3,))
    )
    weights = Weights(r, decay=decay, bias_decay=bias)
    now = variant_step(VARIANTS["time_aware"], z, (h, c), weights, torch.zeros(2, 1).double())
    torch.testing.assert_close(now, lstm_step(z, (h, c), weights.recurrent))
    long_term = c - torch.tanh(c @ weights.decay.T + weights.bias_decay)
    aeons = torch.full((2, 1), 1e300, dtype=torch.float64)  # 1 / log of it is 0.0014
    much_later = variant_step(VARIANTS["time_aware"], z, (h, c), weights, aeons)
    expected = lstm_step(z, (h, long_term), weights.recurrent)
    assert (much_later[1] - expected[1]).abs().max() < 0.002 < (much_later[1] - now[1]).abs().max()


def test_layer_normalisation_forgets_scale_and_shift_of_its_products():
    stack = LSTMStack(4, 8, 1, "layer_norm").double()
    x, lengths = torch.randn(2, 6, 4, dtype=torch.float64), torch.tensor([6, 4])
    before = stack(x, lengths)
    with torch.no_grad():
        stack.inputs[0].mul_(1e3)
        stack.recurrent[0].mul_(1e3)
    torch.testing.assert_close(stack(x, lengths), before, rtol=0, atol=1e-3)
    with torch.no_grad():
        stack.gain_recurrent[0].zero_()
    alone = torch.cat([stack(x[:, t : t + 1], torch.tensor([1, 1])) for t in range(6)], 1)
    assert not torch.allclose(stack(x, lengths)[0], alone[0], atol=1e-3)  # the cell state still goes on


@pytest.mark.parametrize("cell", ["lstm", "peephole", "gru", "fgr", "layer_norm"])
def test_recurrent_dropout_has_one_mask_a_row_for_all_steps(cell: str):
    """A row of 30 equal frames settles under a fixed mask, and would not under a new one at each step."""
    torch.manual_seed(0)
    stack = LSTMStack(3, 16, 1, cell, bidirectional=False, recurrent_dropout=0.5)
    with torch.no_grad():
        for p in [*stack.recurrent, *stack.gain_recurrent, *stack.bias]:
            p.mul_(0.2)
    x = torch.randn(2, 1, 3).expand(2, 60, 3)
    out = stack(x, torch.tensor([60, 50]))
    assert (out[0, 59] - out[0, 58]).abs().max() < 1e-3
    assert not torch.allclose(out, stack(x, torch.tensor([60, 50])), atol=1e-3)
    calm = stack.eval()(x, torch.tensor([60, 50]))
    plain = LSTMStack(3, 16, 1, cell, bidirectional=False)
    plain.load_state_dict(stack.state_dict())
    torch.testing.assert_close(calm, plain(x, torch.tensor([60, 50])), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "peephole", "gru", "layer_norm"])
def test_zoneout_keeps_units_in_training_and_their_expected_share_in_evaluation(cell: str):
    torch.manual_seed(0)
    zoneout = (0.0, 0.6) if cell == "gru" else (0.5, 0.6)
    stack = LSTMStack(3, 50, 1, cell, bidirectional=False, zoneout=zoneout)
    x, lengths = torch.randn(4, 20, 3), torch.full((4,), 20)
    out = stack(x, lengths)
    kept = (out[:, 1:] == out[:, :-1]).double().mean()
    assert 0.55 < kept < 0.65
    stack.eval()
    mean = stack(x[:1, :1], lengths[:1].clamp(max=1))
    plain = LSTMStack(3, 50, 1, cell, bidirectional=False)
    plain.load_state_dict(stack.state_dict())
    torch.testing.assert_close(mean, 0.4 * plain(x[:1, :1], lengths[:1].clamp(max=1)))
    assert torch.equal(stack(x, lengths), stack(x, lengths))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_masks_come_from_torchs_generator_alone(cell: str):
    stack = LSTMStack(3, 8, 2, cell, recurrent_dropout=0.3, zoneout=(0.0, 0.2))
    x, lengths = torch.randn(2, 6, 3), torch.tensor([6, 4])
    outs = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        outs.append(stack(x, lengths))
    assert torch.equal(outs[0], outs[2]) and not torch.equal(outs[0], outs[1])


def test_a_stack_says_what_it_cannot_be():
    for arguments, said in (
        ({"cell": "elman"}, "there are lstm, peephole"),
        ({"cell": "gru", "projection": 2}, "projection"),
        ({"cell": "gru", "zoneout": (0.1, 0.0)}, "first of network.zoneout"),
        ({"zoneout": (0.1,)}, "zoneout"),
        ({"recurrent_dropout": 1.0}, "recurrent_dropout"),
    ):
        with pytest.raises(InputError, match=said):
            LSTMStack(3, 4, 1, **arguments)  # type: ignore[arg-type]
    x, lengths = torch.randn(2, 6, 3), torch.tensor([6, 4])
    with pytest.raises(TypeError, match="gaps"):
        LSTMStack(3, 4, 1)(x, lengths, torch.ones(2, 6))
    with pytest.raises(TypeError, match="gaps"):
        LSTMStack(3, 4, 1, "time_aware")(x, lengths)


def test_recipes_offer_every_cell_but_that_of_time_gaps():
    """Their frames are at even distances."""
    assert [name for name in VARIANTS if name not in CELLS] == ["time_aware"]


def test_parameters_of_the_first_cells_keep_their_names_and_their_start():
    names = [[n for n, _ in LSTMStack(3, 4, 1, cell).named_parameters()] for cell in ("lstm", "peephole")]
    assert names[0] == ["inputs.0", "recurrent.0", "bias.0"]
    assert names[1] == [*names[0], "peephole.0"]
    torch.manual_seed(0)
    first = torch.nn.init.xavier_uniform_(torch.empty(4, 3))
    torch.manual_seed(0)
    assert torch.equal(LSTMStack(3, 4, 1, "cifg").inputs[0][0, :4], first)
    for cell, gate, bias in (("lstm", 1, 1.0), ("gru", 1, 1.0), ("cifg", 0, -1.0), ("nig", 0, 1.0)):
        found = LSTMStack(3, 4, 1, cell).bias[0].unflatten(1, (-1, 4))
        assert (found[:, gate] == bias).all() and found.abs().sum() == 8
