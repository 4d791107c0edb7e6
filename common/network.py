"""The recogniser's network: front end → stacked bidirectional LSTM → log-probabilities of symbols and blank.

Every stage keeps one promise: a row of a padded batch gives what the row gives alone. So each front end sets
frames past a row's length to zero after every layer (what zero padding would have shown it), and nothing is
normalised over the batch.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError
from carousel.common.lstm import MDLSTM, LSTMStack

SLOPE = 0.01  # of the leaky ReLU below zero
LONGEST = 1000  # frames or features; longer kernels and strides are mistakes


def mask(x: Tensor, lengths: Tensor) -> Tensor:
    """x: (batch, frames, …), zero from each row's length on."""
    keep = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (batch, frames)
    return x * keep.view(*keep.shape, *[1] * (x.dim() - 2))


class Stack(nn.Module):
    """`stride` neighbouring frames become one (the last one filled with zeros)."""

    def __init__(self, features: int, stride: int):
        super().__init__()
        self.stride, self.outputs = stride, features * stride

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % self.stride))
        return x.unflatten(1, (-1, self.stride)).flatten(2), -(-lengths // self.stride)


class FrameNorm(nn.Module):
    """Layer normalisation of each frame over height and channels, with a gain and bias per channel.

    Per frame, so that neither padding nor the other rows reach it (unlike batch normalisation).
    """

    eps = 1e-3

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, frames[, height], channels)"""
        over = x.shape[2:]
        gain, bias = (p.expand(over).contiguous() for p in (self.gain, self.bias))
        return nn.functional.layer_norm(x, over, gain, bias, self.eps)


class Convolutions(nn.Module):
    """Convolutional layers over frames (1-D) or frames × features (2-D), each followed by FrameNorm and leaky
    ReLU.

    layers: for each {channels, kernel, stride}; in 2-D kernel and stride are [over frames, over features].
    Kernels are odd, and padded by half, so a row of n frames becomes ⌈n / stride⌉.
    """

    def __init__(self, features: int, layers: Sequence[Mapping[str, Any]], dimensions: int, dropout: float):
        super().__init__()
        self.dimensions, self.dropout = dimensions, dropout
        convolution: Any = nn.Conv1d if dimensions == 1 else nn.Conv2d
        channels, height = (features, 1) if dimensions == 1 else (1, features)
        self.height = height  # of the input in 2-D
        self.strides: list[int] = []
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for layer in layers:
            kernel, stride = _pair(layer["kernel"], dimensions), _pair(layer["stride"], dimensions)
            if not all(1 <= n < LONGEST for n in (*kernel, *stride)):
                raise InputError(f"network.convolutions: kernel {kernel} or stride {stride} cannot be")
            if any(k % 2 == 0 for k in kernel):
                raise InputError(f"network.convolutions: kernel {kernel} is even; give odd sizes")
            padding = tuple(k // 2 for k in kernel)
            # the norm's own bias follows, so the convolution has none
            self.convolutions.append(
                convolution(channels, layer["channels"], kernel, stride, padding, bias=False)
            )
            self.norms.append(FrameNorm(layer["channels"]))
            self.strides.append(stride[0])
            channels = layer["channels"]
            height = -(-height // stride[1]) if dimensions == 2 else 1
        self.outputs = channels * height

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = mask(x, lengths)
        if self.dimensions == 2:
            x = x[..., None]  # (batch, frames, height, channels): a frame lies together in memory
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.strides, strict=True):
            x = norm(convolution(x.movedim(-1, 1)).movedim(1, -1))
            lengths = -(-lengths // stride)
            x = nn.functional.leaky_relu(mask(x, lengths), SLOPE)
            x = _drop_channels(x, self.dropout if self.training else 0.0)
        return x.movedim(-1, 2).flatten(2), lengths


class MultiDimensional(nn.Module):
    """A hierarchy of multidimensional LSTM layers over frames × features (Graves & Schmidhuber 2009, Offline
    Handwriting Recognition with Multidimensional Recurrent Neural Networks, figure 3).

    Blocks of neighbouring features become one place; then, for each of `levels` {hidden, block, units}, an
    MDLSTM with so many cells from each of the four corners, and a tanh layer of `units` over blocks of its
    outputs, with FrameNorm before the tanh (which is ours: without it the signal of an untrained network
    fades from level to level, and it hardly learns). What is left of the features' dimension is summed.
    Blocks are [over frames, over features]; the last ones are filled with zeros, so a row of n frames becomes
    ⌈n / product of the blocks' frames⌉.
    """

    def __init__(
        self, features: int, block: Sequence[int], levels: Sequence[Mapping[str, Any]], dropout: float
    ):
        super().__init__()
        self.dropout = dropout
        self.blocks = [_pair(block, 2, "network.block")]
        self.blocks += [_pair(level["block"], 2, "network.levels") for level in levels]
        if not all(1 <= n < LONGEST for pair in self.blocks for n in pair):
            raise InputError(f"network.block or network.levels: blocks of {self.blocks} cannot be")
        self.strides = [frames for frames, _ in self.blocks]
        self.lstms, self.projections, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = prod(self.blocks[0])
        for level, pair in zip(levels, self.blocks[1:], strict=True):
            self.lstms.append(MDLSTM(channels, level["hidden"]))
            self.projections.append(nn.Linear(4 * level["hidden"] * prod(pair), level["units"], bias=False))
            self.norms.append(FrameNorm(level["units"]))
            channels = level["units"]
        self.outputs = channels

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = mask(x, lengths).transpose(1, 2)[:, None]  # (batch, channels, height, frames), as images are
        first, *others = self.blocks
        x, lengths = _blocks(x, first), -(-lengths // first[0])
        layers = zip(self.lstms, self.projections, self.norms, others, strict=True)
        for lstm, projection, norm, block in layers:
            heights = torch.full_like(lengths, x.shape[2])
            x = _blocks(lstm(x, heights, lengths), block)
            lengths = -(-lengths // block[0])
            x = norm(projection(x.permute(0, 3, 2, 1)))  # (batch, frames, height, units)
            x = torch.tanh(mask(x, lengths))
            x = _drop_channels(x, self.dropout if self.training else 0.0).permute(0, 3, 2, 1)
        return x.sum(2).transpose(1, 2), lengths


def _blocks(x: Tensor, block: tuple[int, ...]) -> Tensor:
    """(batch, channels, height, frames) in blocks of [frames, height], each one place of more channels."""
    frames, height = block
    x = nn.functional.pad(x, (0, -x.shape[3] % frames, 0, -x.shape[2] % height))
    x = x.unflatten(3, (-1, frames)).unflatten(2, (-1, height))
    return x.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def _drop_channels(x: Tensor, share: float) -> Tensor:
    """x: (batch, …, channels). Drops whole channels, as neighbouring places say the same."""
    if not share:
        return x
    keep = x.new_full((len(x), x.shape[-1]), 1 - share).bernoulli() / (1 - share)
    return x * keep.view(len(x), *[1] * (x.dim() - 2), -1)


def _pair(
    value: int | Sequence[int], dimensions: int, where: str = "network.convolutions"
) -> tuple[int, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if len(numbers) != dimensions:
        raise InputError(f"{where} must have {dimensions} number(s), not {value}")
    return numbers


class Network(nn.Module):
    """(batch, frames, features) → (batch, frames / stride, symbols) log-probabilities, with their lengths."""

    def __init__(self, features: int, symbols: int, settings: Mapping[str, Any]):
        """settings: those of a network in common.settings.training."""
        super().__init__()
        front = settings["front"]
        if front == "stack":
            if not 1 <= settings["stride"] < LONGEST:
                raise InputError(
                    f"network.stride must be at least 1 and below {LONGEST}, not {settings['stride']}"
                )
            self.front: nn.Module = Stack(features, settings["stride"])
            self.stride = int(settings["stride"])
        elif front in ("conv1d", "conv2d"):
            layers = settings["convolutions"]
            self.front = Convolutions(features, layers, int(front[4]), settings.get("front_dropout", 0.0))
            self.stride = prod(self.front.strides)
        elif front == "mdlstm":
            block, levels = settings["block"], settings["levels"]
            self.front = MultiDimensional(features, block, levels, settings.get("front_dropout", 0.0))
            self.stride = prod(self.front.strides)
        else:
            raise InputError(f"network.front is {front!r}; there are stack, conv1d, conv2d and mdlstm")
        self.dropout = float(settings.get("dropout", 0.0))
        inputs = int(self.front.outputs)
        self.lstm = LSTMStack(
            inputs,
            settings["hidden"],
            settings["layers"],
            settings.get("cell", "lstm"),
            settings.get("bidirectional", True),
            self.dropout,
            settings.get("projection", 0),
            settings.get("recurrent_dropout", 0.0),
            settings.get("zoneout", (0.0, 0.0)),
        )
        self.head = nn.Linear(self.lstm.outputs, symbols)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, frames, features); lengths: (batch,) integers."""
        lengths = lengths.to(x.device)
        h, lengths = self.front(x, lengths)
        h = self.lstm(h, lengths)
        h = nn.functional.dropout(h, self.dropout, self.training)
        with torch.autocast(x.device.type, enabled=False):  # the steps of bf16 would be seen in near ties
            return self.head(h.to(self.head.weight.dtype)).float().log_softmax(-1), lengths
