"""The recogniser's network: front end → stacked bidirectional LSTM → log-probabilities of symbols and blank.

Every stage keeps one promise: a row of a padded batch gives what the row gives alone. So each front end sets
frames past a row's length to zero after every layer (what zero padding would have shown it), and nothing is
normalised over the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.lstm import LSTMStack

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
            if self.dropout and self.training:  # whole channels, as neighbouring places say the same
                keep = x.new_full((len(x), x.shape[-1]), 1 - self.dropout).bernoulli() / (1 - self.dropout)
                x = x * keep.view(len(x), *[1] * (x.dim() - 2), -1)
        return x.movedim(-1, 2).flatten(2), lengths


def _pair(value: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if len(numbers) != dimensions:
        raise InputError(f"network.convolutions: {value} should be {dimensions} number(s)")
    return numbers


class Network(nn.Module):
    """(batch, frames, features) → (batch, frames / stride, symbols) log-probabilities, with their lengths."""

    def __init__(self, features: int, symbols: int, settings: Mapping[str, Any]):
        """settings: conf/network/*.yaml: front, stride | convolutions, hidden, layers, cell, dropout …"""
        super().__init__()
        front = settings["front"]
        if front == "stack":
            if not 1 <= settings["stride"] < LONGEST:
                raise InputError(f"network.stride is {settings['stride']}; it should be at least 1")
            self.front: nn.Module = Stack(features, settings["stride"])
            self.stride = int(settings["stride"])
        elif front in ("conv1d", "conv2d"):
            layers = settings["convolutions"]
            self.front = Convolutions(features, layers, int(front[4]), settings.get("front_dropout", 0.0))
            self.stride = 1
            for stride in self.front.strides:
                self.stride *= stride
        else:
            raise InputError(f"network.front is {front!r}; there are stack, conv1d and conv2d")
        self.dropout = float(settings.get("dropout", 0.0))
        inputs = int(self.front.outputs)
        self.lstm = LSTMStack(
            inputs,
            settings["hidden"],
            settings["layers"],
            settings.get("cell", "lstm"),
            settings.get("bidirectional", True),
            self.dropout,
        )
        self.head = nn.Linear(self.lstm.outputs, symbols)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, frames, features); lengths: (batch,) integers."""
        lengths = lengths.to(x.device)
        h, lengths = self.front(x, lengths)
        h = self.lstm(h, lengths)
        h = nn.functional.dropout(h, self.dropout, self.training)
        return self.head(h).float().log_softmax(-1), lengths
