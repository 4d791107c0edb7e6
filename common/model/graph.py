"""The graph of an ONNX file, run in the place of a network."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError, reason

UNSURE = 0.1  # natural log that the probabilities of a frame, together, may be off 1: quantised files round


class Runner(nn.Module):
    """The graph of an ONNX file in the place of common.network.Network; its tensors are on the CPU."""

    def __init__(self, path: Path, session: Any, stride: int, symbols: int):
        super().__init__()
        self.path, self.session, self.stride, self.symbols = path, session, stride, symbols

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, frames, size); lengths: (batch,) integers. Returns (batch, output frames, symbols)
            log-probabilities and their lengths.

        X
        """
        out_lengths = -(-lengths // self.stride)
        frames = int(out_lengths.max())
        if not frames:
            return x.new_zeros(len(x), 0, self.symbols), out_lengths
        feed = {"features": x.float().numpy(), "lengths": lengths.long().numpy()}
        try:
            (y,) = self.session.run(["log_probs"], feed)
        except Exception as error:  # ONNX Runtime's own kinds have no base but Exception
            raise InputError(f"{self.path}: its network cannot be run ({reason(error)})") from error
        if y.dtype != "float32" or y.shape[::2] != (len(x), self.symbols) or y.shape[1] < frames:
            raise InputError(
                f"{self.path}: its network gives {y.dtype} {y.shape} for {tuple(x.shape)}, not float32 "
                f"{(len(x), frames, self.symbols)}; export it anew"
            )
        scores = torch.from_numpy(y)
        inside = torch.arange(y.shape[1]) < out_lengths[:, None]
        if (scores.logsumexp(-1)[inside].abs() > UNSURE).any():  # of NaN the decoders tell the frame
            raise InputError(
                f"{self.path}: its network gives numbers that are not log-probabilities; export it anew"
            )
        return scores, out_lengths
