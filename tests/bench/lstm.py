"""Our recurrent layers beside torch's and ONNX Runtime's: python tests/bench/lstm.py [--rounds N] [--quick].

Frames/s counts true frames of ragged batches. `carousel` is our peephole LSTM, in bf16 where the processor
multiplies it faster (the table has `carousel_fp32` as well); `torch_packed` is `nn.LSTM` on a PackedSequence,
the usual exact way; `torch_padded` is `nn.LSTM` on the padded batch, which is wrong on short rows and stands
for a limit; `loop` steps the cell by autograd over the padded batch; `onnxruntime` runs the LSTM operator
with peepholes and `sequence_lens`, and is null without the extra `onnx`. All but ours are in float32.
Contenders take turns, and the median of their rounds counts. The last line is one JSON object.
"""

import argparse
import ctypes
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from carousel.common.hardware import has_bf16
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import peephole_step

SHAPES = [  # layers, hidden, batch, shortest and longest row in frames
    (3, 256, 32, 150, 300),
    (2, 128, 16, 100, 200),
    (5, 320, 16, 300, 600),
    (3, 256, 1, 400, 400),
]
INPUTS = 120
THREADS = (1, 2)
LENGTHS = (100, 300, 1_000, 3_000, 10_000)  # frames a row; together always TOTAL
TOTAL = 30_000
LONG = 0.3  # s of runs in a row

Run = Callable[[], Any]


def carousel(stack: LSTMStack, x: Tensor, lengths: Tensor, bf16: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return stack(x, lengths)


def loop(stack: LSTMStack, x: Tensor, lengths: Tensor) -> Tensor:
    """Each step of the cell by autograd, on the padded batch; the backward direction on reversed rows."""
    time_ = torch.arange(x.shape[1])
    mirror = torch.where(time_ < lengths[:, None], lengths[:, None] - 1 - time_, time_)[..., None]
    for layer in range(len(stack.inputs)):
        sides = []
        for d in range(2):
            rows = x.gather(1, mirror.expand_as(x)) if d else x
            projected = (rows @ stack.inputs[layer][d].T + stack.bias[layer][d]).unbind(1)
            h = c = x.new_zeros(len(x), stack.hidden)
            outputs = []
            for z in projected:
                h, c = peephole_step(z, (h, c), stack.recurrent[layer][d], stack.peephole[layer][d])
                outputs.append(h)
            side = torch.stack(outputs, dim=1)
            sides.append(side.gather(1, mirror.expand_as(side)) if d else side)
        x = torch.cat(sides, dim=-1)
    return x


def onnx_run(stack: LSTMStack, x: Tensor, lengths: Tensor, threads: int) -> Run | None:
    """The stack as ONNX operators LSTM, made by hand, in ONNX Runtime; None without the extra `onnx`."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None

    def reordered(t: Tensor) -> Tensor:  # i, f, g, o → i, o, f, g
        i, f, g, o = t.chunk(4, dim=1)
        return torch.cat((i, o, f, g), dim=1)

    make, nodes, tensors, name = onnx.helper, [], [], "x"
    for layer in range(len(stack.inputs)):
        p = stack.peephole[layer]
        arrays = {
            "W": reordered(stack.inputs[layer]),
            "R": reordered(stack.recurrent[layer]),
            "B": torch.cat((reordered(stack.bias[layer]), torch.zeros_like(stack.bias[layer])), dim=1),
            "P": torch.cat((p[:, 0], p[:, 2], p[:, 1]), dim=1),
        }
        tensors += [
            onnx.numpy_helper.from_array(t.detach().numpy(), f"{k}{layer}") for k, t in arrays.items()
        ]
        inputs = [name, f"W{layer}", f"R{layer}", f"B{layer}", "lengths", "", "", f"P{layer}"]
        nodes += [
            make.make_node(
                "LSTM", inputs, [f"y{layer}"], hidden_size=stack.hidden, direction="bidirectional"
            ),
            make.make_node("Transpose", [f"y{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3]),
            make.make_node("Reshape", [f"t{layer}", "shape"], [f"h{layer}"]),
        ]
        name = f"h{layer}"
    tensors.append(onnx.numpy_helper.from_array(np.array([0, 0, -1], np.int64), "shape"))
    kinds = onnx.TensorProto
    frames, batch = x.shape[1], len(x)
    graph = make.make_graph(
        nodes,
        "stack",
        [
            make.make_tensor_value_info("x", kinds.FLOAT, [frames, batch, x.shape[2]]),
            make.make_tensor_value_info("lengths", kinds.INT32, [batch]),
        ],
        [make.make_tensor_value_info(name, kinds.FLOAT, [frames, batch, stack.outputs])],
        tensors,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": x.transpose(0, 1).contiguous().numpy(), "lengths": lengths.int().numpy()}
    return lambda: session.run(None, feed)[0]


def contenders(
    layers: int, hidden: int, x: Tensor, lengths: Tensor, threads: int
) -> tuple[dict[str, Run], dict[str, Run | None]]:
    """What trains, and what infers."""
    stack = LSTMStack(INPUTS, hidden, layers, "peephole")
    for peephole in stack.peephole:
        nn.init.normal_(peephole, std=0.1)
    torchs = nn.LSTM(INPUTS, hidden, layers, bidirectional=True, batch_first=True)

    def packed() -> Tensor:
        rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return torchs(rows)[0].data

    bf16 = has_bf16("cpu")
    ours: dict[str, Run] = {
        "carousel": lambda: carousel(stack, x, lengths, bf16),
        "carousel_fp32": lambda: carousel(stack, x, lengths, False),
        "torch_packed": packed,
    }
    train = {**ours, "torch_padded": lambda: torchs(x)[0], "loop": lambda: loop(stack, x, lengths)}
    train = {name: learning(run, stack, torchs) for name, run in train.items()}
    infer = {**ours, "onnxruntime": onnx_run(stack, x, lengths, threads)}
    with torch.no_grad():
        exact = loop(stack, x, lengths)
        for row, length in enumerate(lengths.tolist()):
            if not torch.allclose(infer["carousel_fp32"]()[row, :length], exact[row, :length], atol=1e-4):
                raise SystemExit("the layers disagree with their cell: no comparison")
            if row == 2:
                break
    return train, infer


def seconds(run: Run) -> float:
    """Of one run among its like: what ran before has other caches, and idle threads that still spin."""
    first = _timed(run)
    if first > LONG:
        return first
    times = [_timed(run) for _ in range(max(1, round(LONG / first)))]
    return sum(times) / len(times)


def _timed(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def rates(runs: dict[str, Run | None], frames: int, rounds: int) -> dict[str, float | None]:
    """Frames/s of each, the median over rounds in which they take turns, after one to warm up."""
    there = {name: run for name, run in runs.items() if run is not None}
    times = [{name: seconds(run) for name, run in there.items()} for _ in range(rounds + 1)][1:]
    medians = {name: statistics.median(t[name] for t in times) for name in there}
    return {name: round(frames / medians[name], 1) if name in medians else None for name in runs}


def learning(run: Run, *modules: nn.Module) -> Run:
    """A step of training but for the optimiser's: gradients are forgotten, and computed anew."""

    def step() -> None:
        for module in modules:
            module.zero_grad()
        run().square().mean().backward()

    return step


def compare(shape: tuple[int, ...], threads: int, rounds: int) -> dict[str, Any]:
    layers, hidden, batch, shortest, longest = shape
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    lengths = torch.randint(shortest, longest + 1, (batch,))
    lengths[0] = longest
    x = torch.randn(batch, longest, INPUTS)
    train, infer = contenders(layers, hidden, x, lengths, threads)
    frames = int(lengths.sum())
    learned = rates(train, frames, rounds)  # type: ignore[arg-type]
    with torch.inference_mode():
        read = rates(infer, frames, rounds)
    span = f"{shortest}-{longest}" if shortest < longest else str(longest)
    result = {"layers": layers, "hidden": hidden, "batch": batch, "frames": span, "threads": threads}
    return {**result, "train": learned, "infer": read}


def show(result: dict[str, Any]) -> None:
    print("{layers} × {hidden}, batch {batch}, {frames} frames, {threads} thread(s)".format(**result))
    for kind in ("train", "infer"):
        packed = result[kind]["torch_packed"]
        for name, value in result[kind].items():
            figures = f"{value:11,.0f}   {value / packed:6.2f}" if value else "          –        –"
            print(f"  {kind:6} {name:14} {figures}", flush=True)


def gflops() -> dict[str, float]:
    """The best of ten products 2048 × 2048 × 2048, with the most threads above."""
    torch.set_num_threads(max(THREADS))
    best = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, 2048, 2048).to(dtype)
        best[name] = round(2 * 2048**3 / min(seconds(lambda a=a, b=b: a @ b) for _ in range(10)) / 1e9, 1)  # type: ignore[misc]
    return best


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def linear_costs() -> Iterator[tuple[int, int, float, float | None]]:
    """Rows' length, rows, seconds, and MB of memory that training holds above what stood before."""
    torch.set_num_threads(max(THREADS))
    stack = LSTMStack(INPUTS, 128, 2, "peephole")
    for length in LENGTHS:
        batch = TOTAL // length
        x, lengths = torch.randn(batch, length, INPUTS), torch.full((batch,), length)
        step = learning(lambda x=x, lengths=lengths: carousel(stack, x, lengths, has_bf16("cpu")), stack)  # type: ignore[misc]
        step()
        risen = [peak_memory(step) for _ in range(3)]
        memory = None if None in risen else statistics.median(risen)  # type: ignore[type-var]
        yield length, batch, min(seconds(step) for _ in range(3)), memory


def peak_memory(step: Run) -> float | None:
    """MB by which the process's greatest resident size rises above its present one in a step; None outside
    Linux, which alone can forget an earlier peak."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def size(key: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key))

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what earlier steps have freed is taken again, unseen
        forget.write_text("5")
        before = size("VmRSS")
        step()
        return (size("VmHWM") - before) / 1024
    except OSError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="whose median counts (default: 5)")
    parser.add_argument("--quick", action="store_true", help="the second shape only")
    options = parser.parse_args()
    limits = gflops()
    print(f"{cpu()}, torch {torch.__version__}; frames/s, and times that of torch_packed")
    print(
        f"products: fp32 {limits['fp32']:,.0f}, bf16 {limits['bf16']:,.0f} GFLOP/s on {max(THREADS)} threads"
    )
    results = []
    for shape in SHAPES[1:2] if options.quick else SHAPES:
        for threads in THREADS:
            results.append(compare(shape, threads, options.rounds))
            show(results[-1])
    print(f"{TOTAL:,} frames in all, 2 × 128, training: cost by the length of a row")
    for length, batch, took, memory in linear_costs():
        held = f"{memory:7,.0f} MB" if memory is not None else "      –"
        print(f"  {batch:4} × {length:6,} frames   {took:6.3f} s   {TOTAL / took:9,.0f} frames/s   {held}")
    for result in results:  # the JSON keeps to what its readers know
        for kind in ("train", "infer"):
            del result[kind]["carousel_fp32"]
    print(json.dumps({"cpu": cpu(), "gflops": limits, "shapes": results}))


if __name__ == "__main__":
    main()
