"""An exported model run by ONNX Runtime: the same as one of common/model/file.py for all that use it.

A file may come from anybody. Nothing in it is executed but operators of ONNX and of ONNX Runtime itself, it
may not refer to other files, and its description is checked as that of a model file is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch

from carousel.common.errors import InputError, UsageError, reason
from carousel.common.model.file import BROKEN, Model, check_header, empty_network, model_of
from carousel.common.model.graph import Runner

SUFFIX = ".onnx"
KEY = "carousel"  # of metadata_props
DOMAINS = ("", "ai.onnx", "com.microsoft")  # of operators that ONNX Runtime has; the last for quantised files
TENSORS, GRAPHS = (4, 9), (5, 10)  # kinds of onnx.AttributeProto: TENSOR(S), GRAPH(S)
SPARSE = (11, 12)
CUDA = "CUDAExecutionProvider"
LARGEST = 2**31 - 1  # bytes that protobuf allows one file


@contextmanager
def needs_extra(path: Path) -> Iterator[None]:
    """A package that is not installed becomes an InputError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime"):
            raise
        raise InputError(
            f"{path}: ONNX files need the extra `onnx`: pip install 'carousel-ctc[onnx]'"
        ) from error


def read_header(path: str | Path) -> dict[str, Any]:
    """The checked JSON part of an ONNX file. Raises InputError as `load` does."""
    return _header(Path(path), _read(Path(path))[1])


def load(path: str | Path, device: str = "cpu") -> Model:
    """A model of a file that `export` has written, ready to run. device: "cpu" or "cuda".

    Raises InputError if the file is missing, damaged, foreign or unsafe, or its graph does not fit its
    description.
    """
    path = Path(path)
    content, proto = _read(path)
    header = _header(path, proto)
    try:
        network = empty_network(header, len(proto.graph.node))
    except BROKEN as error:
        raise InputError(
            f"{path}: its description makes no network ({reason(error)}); get it anew"
        ) from error
    symbols = network.head.out_features
    _check_ends(path, proto.graph, header["size"], symbols)
    return model_of(header, Runner(path, session(path, content, device), network.stride, symbols))


def device(name: str) -> str:
    """ "cpu" or "cuda" for "auto". Raises UsageError for "cuda" where ONNX Runtime has none."""
    import onnxruntime

    has_cuda = CUDA in onnxruntime.get_available_providers()
    if name == "cuda" and not has_cuda:
        raise UsageError(
            "--device cuda: this onnxruntime runs on the CPU only; leave the option out, or install "
            "onnxruntime-gpu"
        )
    return "cuda" if has_cuda and name != "cpu" else "cpu"


def _read(path: Path) -> tuple[bytes, Any]:
    """The bytes of a file and the onnx.ModelProto in it, safe to run."""
    with needs_extra(path):
        import onnx
        import onnxruntime  # noqa: F401  # without it the file is of no use
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: has more than 2 GB, which no ONNX file can have")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give an .onnx file") from error
    try:
        proto = onnx.load_model_from_string(content)  # never reads other files
    except Exception as error:  # of protobuf, which has no base of its own either
        raise InputError(
            f"{path}: not an ONNX file, or a damaged one ({reason(error)}); get it anew"
        ) from error
    _check_safe(path, proto)
    return content, proto


def _check_safe(path: Path, proto: Any) -> None:
    """Raises InputError for other files, foreign operators, graphs in graphs and tensors of a false size."""
    graph = proto.graph
    domains = {node.domain for node in graph.node} - set(DOMAINS)
    if domains or len(proto.functions):
        named = ", ".join(sorted(domains)) or "the file itself"
        raise InputError(f"{path}: has operators of {named}, which are not run; export the model anew")
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.type in (*GRAPHS, *SPARSE) for attribute in attributes) or graph.sparse_initializer:
        raise InputError(
            f"{path}: has loops, branches or sparse tensors, which no recogniser of Carousel has; "
            "export the model anew"
        )
    within = [t for a in attributes if a.type in TENSORS for t in (a.t, *a.tensors)]
    for tensor in (*graph.initializer, *within):
        _check_tensor(path, tensor)


def _check_tensor(path: Path, tensor: Any) -> None:
    from onnx import TensorProto, helper

    name = tensor.name[:50]
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(
            f"{path}: its tensor {name} lies in another file, which is not read; save the model in one file"
        )
    if tensor.HasField("raw_data"):
        try:
            width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, TypeError, ValueError):
            width = 0
        if any(n < 0 for n in tensor.dims) or prod(tensor.dims) * width != len(tensor.raw_data):
            raise InputError(
                f"{path}: its tensor {name} has {len(tensor.raw_data)} bytes for {list(tensor.dims)}; "
                "get it anew"
            )


def _header(path: Path, proto: Any) -> dict[str, Any]:
    metadata = {item.key: item.value for item in proto.metadata_props}
    return check_header(path, metadata.get(KEY), "an ONNX file", "`asr export` or `hwr export`")


def _check_ends(path: Path, graph: Any, size: int, symbols: int) -> None:
    """What goes in and out must be what the description says."""

    def shape(values: Iterable[Any], name: str) -> list[int]:
        return [
            d.dim_value for v in values if v.name == name for d in v.type.tensor_type.shape.dim
        ]  # 0: any number

    inputs = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    wrong = [name for name in ("features", "lengths") if name not in inputs]
    wrong += ["features"] * (shape(graph.input, "features")[2:] != [size])
    wrong += ["log_probs"] * (shape(graph.output, "log_probs")[2:] != [symbols])
    wrong += sorted(inputs - {"features", "lengths"})
    if wrong:
        raise InputError(
            f"{path}: its graph does not fit its description ({', '.join(dict.fromkeys(wrong))}); get it anew"
        )


def session(path: Path, content: bytes, device: str) -> Any:
    """The graph, ready to run on "cpu" or "cuda". path: for messages. Raises InputError if it cannot be."""
    import onnxruntime

    providers = [*[CUDA] * (device == "cuda"), "CPUExecutionProvider"]  # the last for what the first lacks
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: they become exceptions, and warnings are not for users
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        fallback = int(device == "cuda")  # which prints, and on the CPU there is none
        return onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=fallback)
    except Exception as error:  # ONNX Runtime's own kinds have no base but Exception
        raise InputError(f"{path}: ONNX Runtime cannot load it ({reason(error)}); get it anew") from error
