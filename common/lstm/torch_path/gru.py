"""Whole ragged sequences through a gated recurrent unit, packed by steps as in `fused`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from carousel.common.lstm.cells import Weights
from carousel.common.lstm.torch_path.fused import dropped, exact, previous_frames
from carousel.common.lstm.torch_path.step import Noise


def run(
    projected: Tensor, weights: Weights, counts: list[int], start: Tensor, noise: Noise | None = None
) -> Tensor:
    """Outputs h of a packed batch: `cells.gru_step` again and again.

    projected: W x + b, (directions, frames, 3 hidden) for r, z, n, each direction in its own time order;
    weights: `recurrent` and `bias_candidate`; start: h before the first step, (directions, counts[0],
    hidden). Returns (directions, frames, hidden).
    """
    noise = noise or Noise()
    h: Tensor = _Sequence.apply(counts, noise, projected, start, weights.recurrent, weights.bias_candidate)
    return h


class _Sequence(torch.autograd.Function):
    """h over all steps. Backward is by hand: weight gradients are one product after the loop."""

    @staticmethod
    def forward(
        ctx: Any,
        counts: list[int],
        noise: Noise,
        projected: Tensor,
        start: Tensor,
        recurrent: Tensor,
        bias: Tensor,
    ) -> Tensor:
        gates = torch.empty_like(projected)  # activations r, z, n
        outputs = projected.new_empty(*projected.shape[:2], start.shape[-1])
        seen = torch.empty_like(outputs)  # R_n h + b_hn, which the reset gate lets through
        dtype = exact(projected.dtype)
        h, offset = start, 0
        for count in counts:
            here = slice(offset, offset + count)
            h = h[:, :count]
            into = h if noise.dropout is None else h * noise.dropout[:, :count]
            h_r, h_z, h_n = torch.bmm(into, recurrent.mT).to(dtype).chunk(3, dim=-1)
            x_r, x_z, x_n = projected[:, here].to(dtype).chunk(3, dim=-1)
            r, z, h_n = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z), h_n + bias[:, None]
            n = torch.tanh(torch.addcmul(x_n, r, h_n))
            gates[:, here], seen[:, here] = torch.cat((r, z, n), dim=-1), h_n
            new = torch.lerp(n, h.to(dtype), z)
            if noise.keep_h is not None:
                new = torch.lerp(new, h.to(dtype), noise.keep_h[:, here])
            outputs[:, here] = h = new.to(projected.dtype)
            offset += count
        ctx.save_for_backward(gates, outputs, seen, start, recurrent, bias)
        ctx.counts, ctx.noise = counts, noise
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gates, outputs, seen, start, recurrent, bias = ctx.saved_tensors
        counts, noise = ctx.counts, ctx.noise
        directions, frames, hidden = outputs.shape
        dtype = exact(outputs.dtype)
        d_projected, d_product = torch.empty_like(gates), torch.empty_like(gates)
        d_h = outputs.new_zeros(directions, 0, hidden, dtype=dtype)
        offset = frames
        for step in range(len(counts) - 1, -1, -1):
            count = counts[step]
            offset -= count
            here = slice(offset, offset + count)
            d_h = torch.nn.functional.pad(d_h, (0, 0, 0, count - d_h.shape[1])) + d_outputs[0][:, here]
            old = outputs[:, offset - counts[step - 1] :][:, :count] if step else start
            r, z, n = gates[:, here].to(dtype).chunk(3, dim=-1)
            kept = None
            if noise.keep_h is not None:
                kept = d_h * noise.keep_h[:, here]
                d_h = d_h - kept
            d_n = d_h * (1 - z) * (1 - n * n)
            d_z = d_h * (old.to(dtype) - n) * z * (1 - z)
            d_r = d_n * seen[:, here] * r * (1 - r)
            d_projected[:, here] = torch.cat((d_r, d_z, d_n), dim=-1)
            d_product[:, here] = torch.cat((d_r, d_z, d_n * r), dim=-1)
            d_into = torch.bmm(d_product[:, here], recurrent).to(dtype)
            d_into = d_into if noise.dropout is None else d_into * noise.dropout[:, :count]
            d_h = torch.addcmul(d_into, d_h, z)
            d_h = d_h if kept is None else d_h + kept
        previous = previous_frames(counts).to(outputs.device)
        into = dropped(torch.cat((start, outputs[:, previous]), dim=1), counts, noise.dropout)
        d_recurrent = torch.bmm(d_product.mT, into)
        d_bias = d_product[..., 2 * hidden :].to(dtype).sum(1)
        return None, None, d_projected, d_h.to(start.dtype), d_recurrent, d_bias.to(bias.dtype)
