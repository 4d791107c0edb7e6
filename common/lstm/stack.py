"""The stack of (bidirectional) LSTM layers over a padded batch, exact for every row."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError
from carousel.common.hardware import has_numba
from carousel.common.lstm.cells import GRU, VARIANTS, Weights, normalise
from carousel.common.lstm.torch_path import gru
from carousel.common.lstm.torch_path.fused import (
    Steps,
    exact,
    is_empty,
    previous_frames,
    run,
    sequence,
    zero_state,
)
from carousel.common.lstm.torch_path.step import Noise

State = list[tuple[Tensor, ...]]  # of each layer what `zero_state` has: h, c …, each (batch, …)

LITTLE = 1 << 20  # products a step and gate: a row of 1,024 cells, sixteen of 256
SHORT = 6  # frames of the longest row below which weights are not rearranged for the compiled layers
NARROW = 128  # cells whose recurrent weights in float32 leave half the second cache of a core free

# oneDNN keeps a compiled primitive for each shape it has seen, 1,024 of them by default: gigabytes, as every
# ragged batch has a shape of its own. It reads this at its first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


class LSTMStack(nn.Module):
    """`layers` recurrent layers, each in both directions unless `bidirectional` is off.

    cell: a name of `cells.VARIANTS`. All run compiled on a CPU, unless there is zoneout, or a projection of
    "layer_norm"; elsewhere "lstm" goes through torch's own kernels if none of what is below is asked for.
    dropout: on the input of every layer but the first.
    projection: size of each direction's output, if above 0 (Sak, Senior & Beaufays 2014).
    recurrent_dropout: on h where the recurrent weights take it, one mask a row for all steps and gates (Gal &
    Ghahramani 2016, "tied weights"); the cell state is not touched.
    zoneout: probabilities that a unit of the cell state and of the output keeps its old value for a step
    (Krueger et al. 2017); in evaluation the expected share is kept.

    A row of a padded batch gives what it gives alone: the backward direction starts at the row's own last
    frame.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        layers: int = 3,
        cell: str = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
        projection: int = 0,
        recurrent_dropout: float = 0.0,
        zoneout: Sequence[float] = (0.0, 0.0),
    ):
        super().__init__()
        if cell not in VARIANTS:
            raise InputError(f"network.cell is {cell!r}; there are {', '.join(VARIANTS)}")
        if cell == "gru" and projection:
            raise InputError("network.projection must be 0 with network.cell=gru")
        if cell == "gru" and zoneout[0]:
            raise InputError("the first of network.zoneout must be 0 with network.cell=gru")
        if len(zoneout) != 2 or not all(0 <= share < 1 for share in (recurrent_dropout, *zoneout)):
            raise InputError(
                "network.recurrent_dropout and both of network.zoneout must be at least 0 and below 1"
            )
        self.hidden, self.cell, self.dropout = hidden, cell, dropout
        self.variant, self.directions = VARIANTS[cell], 2 if bidirectional else 1
        self.projection, self.recurrent_dropout, self.zoneout = projection, recurrent_dropout, tuple(zoneout)
        self.outputs = self.directions * (projection or hidden)
        sizes = [inputs] + [self.outputs] * (layers - 1)
        gates, sigmoids = len(self.variant.gates) * hidden, len(self.variant.sigmoids)

        def parameters(*shape: int, there: bool = True) -> nn.ParameterList:
            """One a layer."""
            shape = (self.directions, *shape)
            return nn.ParameterList(nn.Parameter(torch.zeros(shape)) for _ in sizes if there)

        self.inputs = nn.ParameterList(
            nn.Parameter(torch.empty(self.directions, gates, size)) for size in sizes
        )
        self.recurrent = parameters(gates, projection or hidden)
        self.bias = parameters(gates)
        self.peephole = parameters(sigmoids, hidden, there=self.variant.peepholes)
        self.projected = parameters(projection, hidden, there=projection > 0)
        self.gate_recurrent = parameters(3 * hidden, 3 * hidden, there=self.variant.gate_recurrence)
        self.gain_inputs = parameters(gates, there=self.variant.layer_norm)
        self.gain_recurrent = parameters(gates, there=self.variant.layer_norm)
        self.gain_cell = parameters(hidden, there=self.variant.layer_norm)
        self.bias_cell = parameters(hidden, there=self.variant.layer_norm)
        self.decay = parameters(hidden, hidden, there=self.variant.time_gaps)
        self.bias_decay = parameters(hidden, there=self.variant.time_gaps)
        self.bias_candidate = parameters(hidden, there=self.variant == GRU)
        self.reset()

    def reset(self) -> None:
        """Glorot for inputs, orthogonal for recurrent weights, forget bias 1 (Gers 2000; Jozefowicz 2015).

        So that the other cells remember at first as well, the bias of the GRU's update gate is 1, that of a
        coupled input gate -1.
        """
        hidden = self.hidden
        for inputs, recurrent, bias in zip(self.inputs, self.recurrent, self.bias, strict=True):
            for direction in range(self.directions):
                for gate in range(len(self.variant.gates)):
                    rows = slice(gate * hidden, (gate + 1) * hidden)
                    nn.init.xavier_uniform_(inputs[direction, rows])
                    nn.init.orthogonal_(recurrent[direction, rows])
            blocks = dict(zip(self.variant.gates, bias.detach().zero_().split(hidden, dim=1), strict=True))
            for name, start in (("f", 1.0), ("z", 1.0), ("i", -1.0 if self.variant.coupled else 0.0)):
                if name in blocks:
                    blocks[name].fill_(start)
        for several in (self.projected, self.gate_recurrent, self.decay):
            for weight in several:
                for one_way in weight:
                    nn.init.xavier_uniform_(one_way)
        for gains in (self.gain_inputs, self.gain_recurrent, self.gain_cell):
            for gain in gains:
                nn.init.ones_(gain)

    def forward(self, x: Tensor, lengths: Tensor, gaps: Tensor | None = None) -> Tensor:
        """x: (batch, frames, inputs); lengths: (batch,) integers on any device. Returns (batch, frames,
        outputs).

        gaps: (batch, frames) time ≥ 0 since the frame before, in any unit; the time-aware cell needs it, and
        no other takes it (TypeError).
        Frames past a row's length are zero in the result, whatever they hold in `x`. Raises ValueError for
        shapes and lengths that do not fit each other, TypeError for lengths that are no integers.
        """
        self._check(x, gaps)
        if is_empty(x, lengths):
            return x.new_zeros(*x.shape[:2], self.outputs)
        if self._is_torchs() and (self._suits_torch(x) or not self._is_compiled(x)):
            return self._padded(x, lengths)
        return self._packed(x, lengths, None, gaps)[0]

    def carry(
        self, x: Tensor, lengths: Tensor, state: State | None = None, gaps: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """As `forward`, from `state` on (zeros if None), with the state after each row's own last frame.

        state: for each layer (h, c), that of a GRU (h,) and that of full gate recurrence (h, c, gates), each
        (batch, size) float32. A row without frames keeps its state. Gradients flow through the state: a
        caller that truncates them (truncated backpropagation through time, Williams & Peng 1990) detaches it
        between two calls. Masks of recurrent dropout are drawn anew in each call.
        Raises InputError for a stack that also runs backward, which would need the future.
        """
        if self.directions == 2:
            raise InputError("state can be carried only with bidirectional=false")
        self._check(x, gaps)
        if state is None:
            state = self.fresh(len(x), exact(x.dtype))
        if is_empty(x, lengths):
            return x.new_zeros(*x.shape[:2], self.outputs), state
        return self._packed(x, lengths, state, gaps)

    def fresh(self, batch: int, dtype: torch.dtype = torch.float32) -> State:
        """The state before the first frame, zeros, as `carry` takes it."""
        layers = range(len(self.inputs))
        return [zero_state(self.variant, self._weights(layer, dtype), (batch,), dtype) for layer in layers]

    def _check(self, x: Tensor, gaps: Tensor | None) -> None:
        size = self.inputs[0].shape[2]
        if x.dim() != 3 or x.shape[2] != size:
            raise ValueError(f"x of shape {tuple(x.shape)} must be (batch, frames, {size})")
        if self.variant.time_gaps != (gaps is not None):
            raise TypeError(f"cell {self.cell}: gaps are for the time-aware cell, which needs them")
        if gaps is not None and gaps.shape != x.shape[:2]:
            raise ValueError(
                f"gaps of shape {tuple(gaps.shape)} for x of shape {tuple(x.shape)}: a gap a frame"
            )

    def _is_torchs(self) -> bool:
        """Whether torch's own kernels compute just this."""
        is_plain = self.variant in (VARIANTS["lstm"], VARIANTS["np"]) and not self.projection
        return is_plain and not self._is_noisy()

    def _is_noisy(self) -> bool:
        """Whether the recurrence is regularised."""
        return bool(self.training and self.recurrent_dropout) or any(self.zoneout)

    def _suits_torch(self, x: Tensor) -> bool:
        """Whether torch's kernels, where they compute the same, are faster than the compiled layers."""
        little = self.hidden > NARROW and len(x) * self.hidden**2 < LITTLE
        return _operand_dtype(x) == torch.float32 and little

    def _is_compiled(self, x: Tensor) -> bool:
        """Whether `compiled.layer` computes just this, and faster than single steps."""
        known = not (any(self.zoneout) or (self.variant.layer_norm and self.projection))
        fits = x.device.type == "cpu" and _operand_dtype(x) in (torch.float32, torch.bfloat16)
        return known and fits and not torch.compiler.is_compiling() and x.shape[1] >= SHORT and has_numba()

    def _drop(self, x: Tensor, layer: int) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if layer and self.dropout else x

    def _packed(
        self, x: Tensor, lengths: Tensor, state: State | None, gaps: Tensor | None
    ) -> tuple[Tensor, State]:
        """Our own layers: no frame of padding is computed. The new state is empty where none was given."""
        batch, frames, _ = x.shape
        steps = Steps.of(lengths).to(x.device)
        longest = len(steps.counts)
        packed = x[:, :longest].flatten(0, 1)[steps.gather].to(_operand_dtype(x))  # (frames, inputs)
        if gaps is not None:
            gaps = self._packed_gaps(gaps[:, :longest].flatten()[steps.gather].to(exact(x.dtype)), steps)
        carried = []
        run_layer = self._compiled_layer if self._is_compiled(x) else self._layer
        for layer in range(len(self.inputs)):
            old = state[layer] if state is not None else None
            packed, ends = run_layer(layer, self._drop(packed, layer), steps, old, gaps)
            if old is not None:
                pairs = zip(old, ends, strict=True)
                carried.append(tuple(o.index_copy(0, steps.running, e.to(o.dtype)) for o, e in pairs))
        rows = packed.new_zeros(batch * longest, self.outputs).index_copy(0, steps.gather, packed)
        rows = nn.functional.pad(rows.view(batch, longest, -1), (0, 0, 0, frames - longest)).to(x.dtype)
        return rows, carried

    def _compiled_layer(
        self, layer: int, x: Tensor, steps: Steps, state: tuple[Tensor, ...] | None, gaps: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `_layer`."""
        from carousel.common.lstm.compiled_path import sequence as compiled  # late: it brings numba

        start = tuple(t[None, steps.running] for t in state) if state is not None else None
        inputs = self.inputs[layer], self.bias[layer]
        gain = self.gain_inputs[layer] if self.variant.layer_norm else None
        mask = self._noise(x, steps.counts).dropout
        out, ends = compiled.layer(
            self.variant, x, *inputs, self._weights(layer), steps, start, gain, mask, gaps
        )
        return out, tuple(end[0] for end in ends)

    def _packed_gaps(self, gaps: Tensor, steps: Steps) -> Tensor:
        """(directions, frames, 1): going backward, the time to a frame is the gap of the frame after it."""
        if self.directions == 1:
            return gaps[None, :, None]
        first = steps.counts[0]
        backward = gaps.new_zeros(len(gaps))
        backward[first:] = gaps[steps.mirror][previous_frames(steps.counts).to(gaps.device)]
        return torch.stack((gaps, backward))[..., None]

    def _layer(
        self, layer: int, x: Tensor, steps: Steps, state: tuple[Tensor, ...] | None, gaps: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer on packed x, (frames, inputs). Returns packed outputs and, of the first direction, the
        state after each running row's last frame."""
        both = torch.stack((x, x[steps.mirror]) if self.directions == 2 else (x,))
        states = self._states(layer, both, steps, state, gaps)
        h, ends = states[0], tuple(t[0, steps.last] for t in states)
        return torch.cat((h[0], h[1][steps.mirror]), dim=-1) if self.directions == 2 else h[0], ends

    def _states(
        self, layer: int, x: Tensor, steps: Steps, state: tuple[Tensor, ...] | None, gaps: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The states of one layer, h first. x: (directions, frames, inputs)."""
        operand, counts = x.dtype, steps.counts
        w = self._weights(layer, operand)
        matrix, bias = self.inputs[layer].mT.to(operand), self.bias[layer][:, None]
        if self.variant.layer_norm:
            normal, _ = normalise(torch.bmm(x, matrix).to(bias.dtype))
            projected = torch.addcmul(bias, normal, self.gain_inputs[layer][:, None]).to(operand)
        else:
            projected = torch.baddbmm(bias.to(operand), x, matrix)
        noise = self._noise(projected, counts)
        silent = all(part is None for part in noise)
        if self.cell == "peephole" and state is None and silent and w.projection is None:
            return (sequence(projected, w.recurrent, self.peephole[layer], counts),)
        if state is None:
            start = zero_state(self.variant, w, (self.directions, counts[0]), operand)
        else:
            h, *others = (t[None, steps.running] for t in state)
            start = (h.to(operand), *others)
        if self.variant == GRU:
            return (gru.run(projected, w, counts, start[0], noise),)
        return run(self.variant, projected, w, counts, start, noise, gaps)

    def _weights(self, layer: int, operand: torch.dtype | None = None) -> Weights:
        """What the steps use: matrices as operands (as they are if None), the rest as it is."""

        def of(several: nn.ParameterList, matrix: bool = False) -> Tensor | None:
            if not len(several):
                return None
            return several[layer].to(operand) if matrix and operand else several[layer]

        recurrent = self.recurrent[layer]
        return Weights(
            recurrent=recurrent.to(operand) if operand else recurrent,
            peephole=of(self.peephole),
            projection=of(self.projected, True),
            gate_recurrent=of(self.gate_recurrent, True),
            gain_recurrent=of(self.gain_recurrent),
            gain_cell=of(self.gain_cell),
            bias_cell=of(self.bias_cell),
            decay=of(self.decay, True),
            bias_decay=of(self.bias_decay),
            bias_candidate=of(self.bias_candidate),
        )

    def _noise(self, like: Tensor, counts: list[int]) -> Noise:
        """Masks of this batch, from torch's generator alone."""
        outputs = self.projection or self.hidden
        dropout = None
        if self.training and self.recurrent_dropout:
            ones = like.new_ones(self.directions, counts[0], outputs)
            dropout = nn.functional.dropout(ones, self.recurrent_dropout)

        def keep(probability: float, size: int) -> Tensor | None:
            if not probability:
                return None
            share = like.new_full((), probability, dtype=exact(like.dtype))
            share = share.expand(self.directions, sum(counts), size)
            return torch.bernoulli(share) if self.training else share

        cell, output = self.zoneout
        return Noise(dropout, keep(output, outputs), keep(cell, self.hidden))

    def _padded(self, x: Tensor, lengths: Tensor) -> Tensor:
        """torch's one-way kernels (oneDNN, cuDNN), the backward direction on rows reversed in their own
        length.

        Right padding cannot reach a one-way pass over the frames before it, so this is exact, and it is
        several times faster than a `PackedSequence` on a CPU.
        """
        operand = _operand_dtype(x)
        lengths = lengths.to(x.device)
        time = torch.arange(x.shape[1], device=x.device)[:, None]  # (frames, 1)
        reverse = torch.where(time < lengths, lengths - 1 - time, time)[..., None]  # (frames, batch, 1)
        h = x.transpose(0, 1).to(operand)  # (frames, batch, inputs)
        for layer, weights in enumerate(self.inputs):
            h = self._drop(h, layer)
            outputs = []
            for direction in range(self.directions):
                mine = h if direction == 0 else h.gather(0, reverse.expand_as(h))
                parameters = [
                    weights[direction],
                    self.recurrent[layer][direction],
                    self.bias[layer][direction],
                ]
                out = _torch_lstm(mine, [p.to(operand) for p in parameters])
                outputs.append(out if direction == 0 else out.gather(0, reverse.expand_as(out)))
            h = torch.cat(outputs, dim=-1) if self.directions == 2 else outputs[0]
        h = h * (time < lengths)[..., None]
        return h.transpose(0, 1).to(x.dtype)


def _operand_dtype(x: Tensor) -> torch.dtype:
    """Under autocast the products' dtype, else that of the input."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _torch_lstm(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """One layer in one direction. x: (frames, batch, inputs); parameters: W, R, b. Returns (frames, batch,
    hidden)."""
    weights, recurrent, bias = parameters
    zero = x.new_zeros(1, x.shape[1], recurrent.shape[1])
    flat = [weights, recurrent, bias, torch.zeros_like(bias)]
    with torch.autocast(x.device.type, enabled=False):
        # arguments: has_biases, layers, dropout, train, bidirectional, batch_first
        return torch._VF.lstm(x, (zero, zero), flat, True, 1, 0.0, torch.is_grad_enabled(), False, False)[0]
