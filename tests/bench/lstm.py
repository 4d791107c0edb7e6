"""Our recurrent layers beside torch's, in one process, as ratios: python tests/bench/lstm.py [SECONDS a
figure].

Forward and backward over ragged batches; frames/s counts true frames only. `packed` is `nn.LSTM` on a
PackedSequence, the usual exact way; `padded` is `nn.LSTM` on the padded batch, which is wrong on short rows
and stands for a limit.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from common.device import has_bf16
from common.lstm import LSTMStack

SHAPES = [
    (3, 256, 32, 150, 300),
    (2, 128, 16, 100, 200),
    (3, 256, 1, 400, 400),
]  # layers, hidden, batch, frames
INPUTS = 120


def rate(step: Callable[[], Tensor], frames: int, seconds: float) -> float:
    """True frames a second of forward and backward, after one step to warm up."""
    step().square().mean().backward()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step().square().mean().backward()
        count += 1
    return count * frames / (time.perf_counter() - started)


def contenders(layers: int, hidden: int, x: Tensor, lengths: Tensor) -> dict[str, Callable[[], Tensor]]:
    torchs = nn.LSTM(INPUTS, hidden, layers, bidirectional=True, batch_first=True)
    ours = {cell: LSTMStack(INPUTS, hidden, layers, cell) for cell in ("lstm", "peephole")}

    def packed() -> Tensor:
        rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return torchs(rows)[0].data

    def bf16(stack: LSTMStack) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return stack(x, lengths)

    steps: dict[str, Callable[[], Tensor]] = {"packed": packed, "padded": lambda: torchs(x)[0]}
    for cell, stack in ours.items():
        steps[f"{cell} fp32"] = lambda stack=stack: stack(x, lengths)  # type: ignore[misc]
        if has_bf16("cpu"):
            steps[f"{cell} bf16"] = lambda stack=stack: bf16(stack)  # type: ignore[misc]
    return steps


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}")
    for layers, hidden, batch, shortest, longest in SHAPES:
        torch.manual_seed(0)
        lengths = torch.randint(shortest, longest + 1, (batch,))
        lengths[0] = longest
        x = torch.randn(batch, longest, INPUTS)
        steps = contenders(layers, hidden, x, lengths)
        rates = {name: rate(step, int(lengths.sum()), seconds) for name, step in steps.items()}
        print(f"{layers} × {hidden}, batch {batch}, {shortest}–{longest} frames")
        for name, value in rates.items():
            print(f"  {name:14} {value:9,.0f} frames/s   {value / rates['packed']:5.2f} × packed")


if __name__ == "__main__":
    main()
