"""One step of the LSTM family on packed frames, forward onto a tape and back again, by hand."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.common.lstm.cells import Variant, Weights, fade, gates_and_cell, normalise


class Noise(NamedTuple):
    """Regularisation of the recurrence, drawn beforehand; None where there is none."""

    dropout: Tensor | None = None  # factor of h where R takes it, (directions, counts[0], outputs)
    keep_h: Tensor | None = None  # share of the old h in the new one, (directions, frames, outputs)
    keep_c: Tensor | None = None  # share of the old c in the new one, (directions, frames, hidden)


class Setting(NamedTuple):
    """What a whole sequence shares, apart from weights."""

    variant: Variant
    counts: list[int]  # rows that run at each step, falling
    noise: Noise
    discount: Tensor | None  # of the short-term memory, (directions, frames, 1)


class Tape(NamedTuple):
    """What backward needs of each frame, (directions, frames, …); parts that the cell lacks are empty."""

    h: Tensor
    c: Tensor
    gates: Tensor  # i, f, o, where they recur
    new_c: Tensor  # before zoneout
    activations: Tensor  # of `variant.gates`
    unprojected: Tensor  # h before the projection
    short: Tensor  # short-term part of c
    normal_product: Tensor  # R h, normalised
    product_scale: Tensor
    normal_c: Tensor
    c_scale: Tensor

    @classmethod
    def blank(cls, setting: Setting, projected: Tensor, h: Tensor, c: Tensor, w: Weights) -> "Tape":
        variant, hidden, operand = setting.variant, c.shape[-1], projected.dtype

        def packed(size: int, dtype: torch.dtype, there: bool = True) -> Tensor:
            return c.new_empty(*projected.shape[:2], size if there else 0, dtype=dtype)

        cells = packed(hidden, c.dtype)
        return cls(
            h=packed(h.shape[-1], operand),
            c=cells,
            gates=packed(3 * hidden, c.dtype, variant.gate_recurrence),
            new_c=cells if setting.noise.keep_c is None else packed(hidden, c.dtype),
            activations=torch.empty_like(projected),
            unprojected=packed(hidden, operand, w.projection is not None),
            short=packed(hidden, operand, variant.time_gaps),
            normal_product=packed(projected.shape[-1], operand, variant.layer_norm),
            product_scale=packed(1, c.dtype, variant.layer_norm),
            normal_c=packed(hidden, c.dtype, variant.layer_norm),
            c_scale=packed(1, c.dtype, variant.layer_norm),
        )


class Gradients(NamedTuple):
    """By what each frame computes, (directions, frames, …); parts that the cell lacks are empty."""

    z: Tensor  # what comes to the gates
    product: Tensor  # R h: the same as z unless it is normalised
    projected: Tensor  # h after the projection
    squashed: Tensor  # the cell state as normalised, with gain and bias
    short: Tensor  # what comes to the tanh of the short-term part

    @classmethod
    def blank(cls, setting: Setting, tape: Tape, w: Weights) -> "Gradients":
        z = torch.empty_like(tape.activations)
        return cls(
            z,
            torch.empty_like(z) if setting.variant.layer_norm else z,
            torch.empty_like(tape.h) if w.projection is not None else tape.h[..., :0],
            torch.empty_like(tape.normal_c),
            torch.empty_like(tape.short),
        )


def step(
    setting: Setting, tape: Tape, here: slice, projected: Tensor, state: tuple[Any, ...], w: Any
) -> tuple[Any, ...]:
    """`cells.variant_step` for the frames `here`, with dropout and zoneout; fills the tape."""
    variant, _, noise, discount = setting
    h_old, c_old, gates_old = state
    operand, dtype = projected.dtype, c_old.dtype
    c = c_old
    if discount is not None:
        c, tape.short[:, here] = fade(c_old, discount[:, here], w.decay, w.bias_decay[:, None])
    seen = h_old if noise.dropout is None else h_old * noise.dropout[:, : h_old.shape[1]]
    if variant.layer_norm:
        normal, tape.product_scale[:, here] = normalise(torch.bmm(seen, w.recurrent.mT).to(dtype))
        tape.normal_product[:, here] = normal
        z = torch.addcmul(projected.to(dtype), normal, w.gain_recurrent[:, None])
    else:
        z = torch.baddbmm(projected, seen, w.recurrent.mT).to(dtype)
    if variant.gate_recurrence:
        on_i, on_f, on_o = torch.bmm(gates_old.to(operand), w.gate_recurrent.mT).to(dtype).chunk(3, dim=-1)
        z = z + torch.cat((on_i, on_f, torch.zeros_like(on_i), on_o), dim=-1)
    gates, c = gates_and_cell(variant, z, c, _peepholes(variant, w))
    tape.activations[:, here] = torch.cat([gates[name] for name in variant.gates], dim=-1)
    if variant.layer_norm:
        tape.normal_c[:, here], tape.c_scale[:, here] = normalise(c)
    h = gates["o"] * _squashed(setting, tape, here, c, w)
    if w.projection is not None:
        tape.unprojected[:, here] = h
        h = torch.bmm(h.to(operand), w.projection.mT)
    if noise.keep_h is not None:
        h = torch.lerp(h.to(dtype), h_old.to(dtype), noise.keep_h[:, here])
    if noise.keep_c is not None:
        tape.new_c[:, here] = c
        c = torch.lerp(c, c_old, noise.keep_c[:, here])
    h = h.to(operand)
    tape.h[:, here], tape.c[:, here] = h, c
    if not variant.gate_recurrence:
        return h, c, None
    recurring = tape.gates[:, here]
    torch.cat([gates[name] for name in "ifo"], dim=-1, out=recurring)
    return h, c, recurring


def _squashed(setting: Setting, tape: Tape, here: slice, c: Tensor, w: Any) -> Tensor:
    """What comes to the output gate; of layer normalisation c is on the tape."""
    if setting.variant.layer_norm:
        c = torch.addcmul(w.bias_cell[:, None], tape.normal_c[:, here], w.gain_cell[:, None])
    return torch.tanh(c) if setting.variant.output_activation else c


def _peepholes(variant: Variant, w: Any) -> dict[str, Tensor]:
    return (
        dict(zip(variant.sigmoids, w.peephole[:, :, None].unbind(1), strict=True))
        if variant.peepholes
        else {}
    )


def step_back(
    setting: Setting,
    tape: Tape,
    here: slice,
    c_old: Tensor,
    d_state: tuple[Tensor, ...],
    w: Any,
    back: Gradients,
) -> tuple[Tensor, ...]:
    """Gradients by the state before the frames `here`, from those by the state after; fills `back`."""
    variant, _, noise, discount = setting
    operand, dtype = back.z.dtype, c_old.dtype
    d_h, d_c, d_gates = d_state
    kept_h = kept_c = None
    if noise.keep_h is not None:
        kept_h = d_h * noise.keep_h[:, here]
        d_h = d_h - kept_h
    if noise.keep_c is not None:
        kept_c = d_c * noise.keep_c[:, here]
        d_c = d_c - kept_c
    if w.projection is not None:
        back.projected[:, here] = d_h
        d_h = torch.bmm(back.projected[:, here], w.projection).to(dtype)
    faded = c_old
    if discount is not None:
        short = tape.short[:, here].to(dtype)
        faded = c_old - short * (1 - discount[:, here])
    d_squashed, d_o = _output_back(setting, tape, here, d_h, w, back)
    d_z, d_c = _gates_back(setting, tape, here, faded, d_o, d_c + d_squashed, d_gates, w)
    back.z[:, here] = d_z
    if discount is not None:
        back.short[:, here] = (discount[:, here] - 1) * d_c * (1 - short * short)
        d_c = d_c + torch.bmm(back.short[:, here].to(operand), w.decay).to(dtype)
    if variant.gate_recurrence:
        d_i, d_f, _, d_o = back.z[:, here].chunk(4, dim=-1)
        d_gates = torch.bmm(torch.cat((d_i, d_f, d_o), dim=-1), w.gate_recurrent).to(dtype)
    if variant.layer_norm:
        normal, scale = tape.normal_product[:, here].to(dtype), tape.product_scale[:, here]
        back.product[:, here] = _normalise_back(d_z * w.gain_recurrent[:, None], normal, scale)
    d_h = torch.bmm(back.product[:, here], w.recurrent).to(dtype)
    if noise.dropout is not None:
        d_h = d_h * noise.dropout[:, : d_h.shape[1]]
    return d_h if kept_h is None else d_h + kept_h, d_c if kept_c is None else d_c + kept_c, d_gates


def _output_back(
    setting: Setting, tape: Tape, here: slice, d_h: Tensor, w: Any, back: Gradients
) -> tuple[Tensor, Tensor]:
    """Gradients by the new cell state, as far as it comes through the output, and by the output gate."""
    variant, c = setting.variant, tape.new_c[:, here]
    squashed = _squashed(setting, tape, here, c, w)
    d = d_h
    if "o" in variant.gates:
        d = d * tape.activations[:, here, -c.shape[-1] :]
    if variant.output_activation:
        d = d * (1 - squashed * squashed)
    if variant.layer_norm:
        back.squashed[:, here] = d
        d = _normalise_back(d * w.gain_cell[:, None], tape.normal_c[:, here], tape.c_scale[:, here])
    return d, d_h * squashed


def _gates_back(
    setting: Setting,
    tape: Tape,
    here: slice,
    c: Tensor,
    d_o: Tensor,
    d_c: Tensor,
    d_gates: Tensor,
    w: Any,
) -> tuple[Tensor, Tensor]:
    """Gradients by z and by the old cell state `c`: backward through `cells.gates_and_cell`."""
    variant = setting.variant
    blocks = tape.activations[:, here].to(c.dtype).chunk(len(variant.gates), dim=-1)
    gates = dict(zip(variant.gates, blocks, strict=True))
    peepholes = _peepholes(variant, w)
    recurring = dict(zip("ifo", d_gates.chunk(3, dim=-1), strict=True)) if variant.gate_recurrence else {}

    def through(name: str, d: Tensor, d_c: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by what comes to a gate and, added to d_c, by the cell state that it looks at."""
        a = gates[name]
        d = (d + recurring[name] if name in recurring else d) * a * (1 - a)
        return d, torch.addcmul(d_c, d, peepholes[name]) if name in peepholes else d_c

    i, g = gates.get("i"), gates["g"]
    d_z = {}
    if "o" in gates:
        d_z["o"], d_c = through("o", d_o, d_c)
    d_g = d_c if i is None else d_c * i
    d_z["g"] = d_g * (1 - g * g) if variant.input_activation else d_g
    d_old = d_c * gates["f"] if "f" in gates else d_c * (1 - i) if variant.coupled else d_c  # type: ignore[operator]
    if i is not None:
        d_z["i"], d_old = through("i", d_c * (g - c if variant.coupled else g), d_old)
    if "f" in gates:
        d_z["f"], d_old = through("f", d_c * c, d_old)
    return torch.cat([d_z[name] for name in variant.gates], dim=-1), d_old


def _normalise_back(d: Tensor, normal: Tensor, scale: Tensor) -> Tensor:
    """Gradient through `cells.normalise`, from what it returned."""
    along = (d * normal).mean(-1, keepdim=True)
    return scale * (d - d.mean(-1, keepdim=True) - normal * along)
