"""One step of each cell, as the papers write it. The paths over whole sequences are checked against these.

Gates stand in the order i, f, g, o (input gate, forget gate, cell input, output gate), as in `torch.nn.LSTM`;
those that a cell does not have are left out. The GRU's stand in the order r, z, n (reset gate, update gate,
candidate), as in `torch.nn.GRU`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-5  # added to the variance in layer normalisation


@dataclass(frozen=True)
class Variant:
    """Which parts a cell has. `source` names the paper."""

    source: str
    gates: str = "ifgo"  # blocks of the projected input; a gate that is not here stays fully open
    coupled: bool = False  # the forget gate is 1 - i
    peepholes: bool = False  # i and f look at the old cell state, o at the new one
    input_activation: bool = True  # tanh of the cell input; else the input as it is
    output_activation: bool = True  # tanh of the cell state; else the state as it is
    gate_recurrence: bool = False  # i, f and o also see all three of the step before
    layer_norm: bool = False  # of both products and of the cell state
    time_gaps: bool = False  # the short-term part of the cell state fades with the time since the last step

    @property
    def sigmoids(self) -> str:
        """The gates in the narrow sense, which are from 0 to 1."""
        return self.gates.replace("g", "").replace("n", "")


GREFF = "Greff, Srivastava, Koutník, Steunebrink & Schmidhuber 2015, LSTM: A Search Space Odyssey"
LONG = "Hochreiter & Schmidhuber 1997, Long Short-Term Memory"

VARIANTS = {
    "lstm": Variant("Gers, Schmidhuber & Cummins 2000, Learning to Forget"),
    "peephole": Variant("Gers & Schmidhuber 2000, Recurrent Nets that Time and Count", peepholes=True),
    "gru": Variant("Cho et al. 2014, Learning Phrase Representations using RNN Encoder–Decoder", "rzn"),
    "lstm1997": Variant(LONG, "igo"),  # the constant error carousel: nothing is forgotten
    "lstm1997_linear": Variant(LONG, "igo", output_activation=False),
    "nig": Variant(GREFF, "fgo", peepholes=True),  # no input gate
    "nfg": Variant(GREFF, "igo", peepholes=True),  # no forget gate
    "nog": Variant(GREFF, "ifg", peepholes=True),  # no output gate
    "niaf": Variant(GREFF, peepholes=True, input_activation=False),
    "noaf": Variant(GREFF, peepholes=True, output_activation=False),
    "cifg": Variant(GREFF, "igo", coupled=True, peepholes=True),  # coupled input and forget gate
    "np": Variant(GREFF),  # no peepholes: the same cell as `lstm`
    "fgr": Variant(GREFF, peepholes=True, gate_recurrence=True),  # full gate recurrence
    "layer_norm": Variant("Ba, Kiros & Hinton 2016, Layer Normalization", layer_norm=True),
    "time_aware": Variant("Baytas et al. 2017, Patient Subtyping via Time-Aware LSTM", time_gaps=True),
}
GRU = VARIANTS["gru"]


class Weights(NamedTuple):
    """What a cell uses at each step; None where it has no such part. Layers put the directions in front."""

    recurrent: Tensor  # R, (gates * hidden, outputs)
    peephole: Tensor | None = None  # (sigmoid gates, hidden), in the order of the gates
    projection: Tensor | None = None  # (outputs, hidden); without it outputs = hidden
    gate_recurrent: Tensor | None = None  # of i, f, o on i, f, o, (3 hidden, 3 hidden)
    gain_recurrent: Tensor | None = None  # (gates * hidden,)
    gain_cell: Tensor | None = None  # (hidden,)
    bias_cell: Tensor | None = None  # (hidden,)
    decay: Tensor | None = None  # W_d, (hidden, hidden)
    bias_decay: Tensor | None = None  # b_d, (hidden,)
    bias_candidate: Tensor | None = None  # b_hn of the GRU, (hidden,)


def lstm_step(projected: Tensor, state: tuple[Tensor, Tensor], recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """LSTM with forget gate (Gers, Schmidhuber & Cummins 2000, Learning to Forget).

    projected: W x + b of this step, (batch, 4 hidden); state: h and c, each (batch, hidden);
    recurrent: R, (4 hidden, hidden). Returns the new h and c.
    """
    h, c = state
    i, f, g, o = (projected + h @ recurrent.T).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def peephole_step(
    projected: Tensor, state: tuple[Tensor, Tensor], recurrent: Tensor, peephole: Tensor
) -> tuple[Tensor, Tensor]:
    """Peephole LSTM (Gers & Schmidhuber 2000, Recurrent Nets that Time and Count; Graves 2013, equations
    7–11).

    As `lstm_step`; the gates also see the cell state: input and forget gate the old one, the output gate the
    new one. peephole: (3, hidden) for i, f, o.
    """
    h, c = state
    i, f, g, o = (projected + h @ recurrent.T).chunk(4, dim=-1)
    c_new = torch.sigmoid(f + peephole[1] * c) * c + torch.sigmoid(i + peephole[0] * c) * torch.tanh(g)
    return torch.sigmoid(o + peephole[2] * c_new) * torch.tanh(c_new), c_new


def gru_step(projected: Tensor, h: Tensor, weights: Any) -> Tensor:
    """Gated recurrent unit (Cho et al. 2014), as `torch.nn.GRU` has it.

    The reset gate is on the product, R_n h, not on h as in the paper, and z is the share that is *kept*.
    projected: W x + b of this step, (batch, 3 hidden) for r, z, n; h: (batch, hidden); weights: `Weights`.
    Returns the new h.
    """
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = (h @ weights.recurrent.T).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * (h_n + weights.bias_candidate))
    return (1 - z) * n + z * h


def variant_step(
    variant: Variant,
    projected: Tensor,
    state: tuple[Tensor, ...],
    weights: Any,
    gap: Any = None,
) -> tuple[Tensor, ...]:
    """One step of any cell of the LSTM family (`VARIANTS` without the GRU).

    projected: W x + b, or LN(W x; gain) + b under layer normalisation, (batch, gates * hidden);
    state: h (batch, outputs), c (batch, hidden), and with gate recurrence i, f, o (batch, 3 hidden);
    weights: `Weights`, with the parts of the variant; gap: (batch, 1) time since the step before, for the
    time-aware cell. Returns the new state.

    Projection: Sak, Senior & Beaufays 2014, LSTM Based RNN Architectures for Large Vocabulary Speech
    Recognition, without the part of the output that does not recur.
    """
    return step_with_gates(variant, projected, state, weights, gap)[0]


def step_with_gates(
    variant: Variant,
    projected: Tensor,
    state: tuple[Tensor, ...],
    weights: Any,
    gap: Any = None,
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """As `variant_step`, and i, f, g and o."""
    h, c, *before = state
    if variant.time_gaps:
        c, _ = fade(c, elapsed_discount(gap), weights.decay, weights.bias_decay)
    recurrent = h @ weights.recurrent.T
    if variant.layer_norm:
        recurrent = normalise(recurrent)[0] * weights.gain_recurrent
    z = projected + recurrent
    if variant.gate_recurrence:
        on_i, on_f, on_o = (before[0] @ weights.gate_recurrent.T).chunk(3, dim=-1)
        z = z + torch.cat((on_i, on_f, torch.zeros_like(on_i), on_o), dim=-1)
    peepholes = dict(zip(variant.sigmoids, weights.peephole, strict=True)) if variant.peepholes else {}
    gates, c = gates_and_cell(variant, z, c, peepholes)
    y = normalise(c)[0] * weights.gain_cell + weights.bias_cell if variant.layer_norm else c
    h = gates["o"] * (torch.tanh(y) if variant.output_activation else y)
    if weights.projection is not None:
        h = h @ weights.projection.T
    new = torch.cat([gates[name] for name in "ifo"], dim=-1) if variant.gate_recurrence else None
    return ((h, c) if new is None else (h, c, new)), gates


def gates_and_cell(
    variant: Variant, z: Tensor, c: Tensor, peepholes: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """i, f, g, o and the new cell state.

    z: what comes to the gates, (…, gates * hidden); c: (…, hidden); peepholes: of each gate that has one.
    """
    into = dict(zip(variant.gates, z.chunk(len(variant.gates), dim=-1), strict=True))
    always_open = z.new_ones(())

    def gate(name: str, c: Tensor) -> Tensor:
        return torch.sigmoid(into[name] + peepholes[name] * c if name in peepholes else into[name])

    i = gate("i", c) if "i" in into else always_open
    f = gate("f", c) if "f" in into else 1 - i if variant.coupled else always_open
    g = torch.tanh(into["g"]) if variant.input_activation else into["g"]
    c = torch.addcmul(f * c, i, g)
    o = gate("o", c) if "o" in into else always_open
    return {"i": i, "f": f, "g": g, "o": o}, c


def elapsed_discount(gap: Tensor) -> Tensor:
    """What is left of the short-term memory after a time ≥ 0: 1 / log(e + gap) (Baytas 2017)."""
    return 1 / torch.log(torch.e + gap)


def fade(c: Tensor, discount: Tensor, decay: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The cell state whose short-term part is discounted, and that part (Baytas 2017).

    c: (…, hidden); decay: W_d, (…, hidden, hidden).
    """
    short = torch.tanh((c.to(decay.dtype) @ decay.mT).to(c.dtype) + bias)
    return c - short * (1 - discount), short


def normalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """x with mean 0 and variance 1 over its last dimension, and 1 / its standard deviation (…, 1)."""
    normal, _, scale = torch.native_layer_norm(x, x.shape[-1:], None, None, EPSILON)
    return normal, scale
