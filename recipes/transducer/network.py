"""The network of the transducer: Graves, Mohamed & Hinton 2013, Speech Recognition with Deep Recurrent Neural
Networks, section 2.2.

The encoder is that of a CTC model, its front end and its recurrent layers. The prediction network reads the
labels written so far, as one-hot vectors after a zero vector, which is the start. The joint network is

    l = W_enc h_t + b,   h = tanh(l + W_pred p_u),   Pr(k | t, u) = softmax(W_out h + b_out)
"""

from __future__ import annotations

import copy
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from carousel.common.hardware import has_bf16
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.stack import State
from carousel.common.network import Network
from carousel.recipes.transducer.search import Prefix, Score

REMEMBERED = 4096  # distributions of one input that are kept: those of a frame are asked for again


class Transducer(nn.Module):
    """From features and labels to the log-probabilities of every node of the lattice."""

    def __init__(self, ctc: Network, predicting: int, joint: int, dropout: float):
        """ctc: what the encoder is copied from; predicting: LSTM cells that read the labels; joint: units of
        the joint network; dropout: of what goes into it."""
        super().__init__()
        self.symbols, self.dropout = ctc.head.out_features, dropout
        self.front, self.lstm = copy.deepcopy(ctc.front), copy.deepcopy(ctc.lstm)
        self.prediction = LSTMStack(self.symbols - 1, predicting, layers=1, bidirectional=False)
        self.of_frame = nn.Linear(self.lstm.outputs, joint)
        self.of_labels = nn.Linear(predicting, joint, bias=False)  # of_frame has the bias of both
        self.head = nn.Linear(joint, self.symbols)

    def encode(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, features) and lengths (batch,) → (batch, output frames, joint) and lengths."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=has_bf16(x.device.type)):
            h, lengths = self.front(x, lengths)
            h = self.lstm(h, lengths)
        return self.of_frame(nn.functional.dropout(h.float(), self.dropout, self.training)), lengths

    def predict(self, targets: Tensor, counts: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(batch, steps) symbols, the start being 0, and counts (batch,) → (batch, steps, joint) and the
        state after them; state: before the first."""
        symbols = nn.functional.one_hot(targets, self.symbols)[..., 1:].float()
        h, state = self.prediction.carry(symbols, counts, state)
        return self.of_labels(nn.functional.dropout(h, self.dropout, self.training)), state

    def forward(self, x: Tensor, lengths: Tensor, targets: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """targets: (batch, labels) padded with 0, of which a row has counts (batch,).

        Returns (batch, output frames, labels + 1, symbols) log-probabilities, and each row's output frames.
        """
        frames, lengths = self.encode(x, lengths)
        labels, _ = self.predict(nn.functional.pad(targets, (1, 0)), counts + 1)
        h = torch.tanh(frames[:, :, None] + labels[:, None])
        return self.head(h).log_softmax(-1), lengths


def scorer(network: Transducer, frames: np.ndarray) -> Score:
    """What the search asks of a network in evaluation. frames: of one input, as `encode` gives them.

    Each prefix goes through the prediction network once. The joint network is a few hundred units, for which
    numpy takes a fraction of the time that a call of torch does.
    """
    weight, bias = (p.detach().numpy() for p in (network.head.weight, network.head.bias))
    one = torch.ones(1, dtype=torch.long)

    @cache
    def after(prefix: Prefix) -> tuple[np.ndarray, State]:
        before = after(prefix[:-1])[1] if prefix else None
        with torch.inference_mode():
            labels, state = network.predict(torch.tensor([[prefix[-1] if prefix else 0]]), one, before)
        return labels[0, 0].numpy(), state

    @lru_cache(REMEMBERED)
    def score(prefix: Prefix, frame: int) -> np.ndarray:
        logits = weight @ np.tanh(frames[frame] + after(prefix)[0]) + bias
        logits -= logits.max()
        return logits - np.log(np.exp(logits).sum())

    return score
