"""Models by name or by file: those that ship, in the folders `models` of the rooms, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from carousel.common.errors import InputError, UsageError, reason
from carousel.common.model import file as model_file
from carousel.common.model import onnx_run as onnx_file
from carousel.common.model.file import Model
from carousel.common.model.names import SUFFIX, model_files

BEST = "best" + SUFFIX  # what `train` leaves in the folder of a run
DOMAINS = {
    "speech": "recordings",
    "image": "line images",
    "ink": "pen strokes",
}  # what a model of the domain reads


def open_model(
    choice: str | None,
    folder: Path,
    domains: Sequence[str],
    device: str = "auto",
    size: Callable[[Mapping[str, Any]], int] | None = None,
    precision: str = "auto",
) -> Model:
    """The model of a file, of a run folder, or of a name that ships in `folder`.

    Without a choice it is the default for the first of `domains`. Its card gets a name if it has none.
    size: of asr.features or hwr.features, to check what the file says of its features.
    precision: "fp32", "bf16", or "auto" for bf16 where that is faster; only "auto" goes with an .onnx.
    Raises InputError for a model that is missing, damaged or of another domain, UsageError for a device or a
    precision that it cannot have.
    """
    path = _default(folder, domains[0]) if choice is None else find_model(choice, folder)
    kind = _format(path)
    header = kind.read_header(path)
    domain = header["domain"]
    if domain not in domains:
        wanted = " or ".join(DOMAINS[d] for d in domains)
        raise InputError(
            f"{path}: this model reads {DOMAINS[domain]}, and {wanted} are to be read; give another --model"
        )
    if size is not None:
        _check_size(path, header, size)
    place = _device(device, path)
    model = kind.load(path, place)
    model.bf16 = _is_bf16(precision, path, place)
    model.card["name"] = str(model.card.get("name", path.stem))
    model.path = path
    return model


def _format(path: Path) -> ModuleType:
    """The module that reads the file: by its suffix, as the two have nothing else in common."""
    return onnx_file if path.suffix == onnx_file.SUFFIX else model_file


def _check_size(path: Path, header: dict[str, Any], size: Callable[[Mapping[str, Any]], int]) -> None:
    """The weights fit the size that the header tells, but its features may be of another."""
    try:
        found = size(header["features"])
    except model_file.BROKEN as error:
        raise InputError(f"{path}: its features cannot be used ({reason(error)}); get it anew") from error
    if found != header["size"]:
        raise InputError(
            f"{path}: its features are {found} numbers a frame, and its network takes {header['size']}; "
            "get it anew"
        )


def find_model(choice: str, folder: Path) -> Path:
    """The file of a model given as a file, a run folder, or the name of one that ships in `folder`."""
    path = Path(choice)
    if (path / BEST).is_file():
        return path / BEST
    named = folder / f"{path.name.removesuffix(SUFFIX)}{SUFFIX}"
    if not path.exists() and path.name == choice and named.is_file():
        return named
    if not path.exists():
        shipped = ", ".join(file.stem for file in model_files(folder)) or "none"
        raise InputError(
            f"{choice}: there is no such model file, nor does a model of this name ship ({shipped} do)"
        )
    return path


def _default(folder: Path, domain: str) -> Path:
    headers = {path: model_file.read_header(path) for path in model_files(folder)}
    of_domain = [path for path, header in headers.items() if header["domain"] == domain]
    defaults = [path for path in of_domain if headers[path].get("card", {}).get("default")]
    if not of_domain:
        raise InputError(
            f"no model for {DOMAINS[domain]} ships with this installation: give one with --model"
        )
    return (defaults or of_domain)[0]


def _device(name: str, path: Path) -> str:
    import torch

    if _format(path) is onnx_file:
        return onnx_file.device(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here; leave the option out, or give cpu")
    return name


def _is_bf16(precision: str, path: Path, device: str) -> bool:
    """Whether the products of a model are in bf16. device: "cpu" or "cuda"."""
    from carousel.common.hardware import has_bf16

    if _format(path) is onnx_file:
        if precision != "auto":
            raise UsageError(
                f"--precision {precision}: {path} has its own precision; leave the option out, or give the "
                ".safetensors it came from"
            )
        return False
    return has_bf16(device) if precision == "auto" else precision == "bf16"


def describe(path: Path) -> dict[str, Any]:
    """What `models` tells of the file of a recogniser or of a language model, ready for JSON."""
    if path.suffix == SUFFIX and (language := model_file.language_model(path)):
        return _language(path, language)
    header = _format(path).read_header(path)
    card = header.get("card", {})
    return {
        "kind": "recogniser",
        "name": str(card.get("name", path.stem)),
        "file": str(path),
        "domain": header["domain"],
        "default": bool(card.get("default", False)),
        "symbols": len(header["alphabet"]),
        "alphabet": "".join(header["alphabet"]),
        "bytes": path.stat().st_size,
        "description": card.get("description"),
        "licence": card.get("licence"),
        "results": card.get("results"),
    }


def _language(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    card = found["card"]
    return {
        "kind": found["kind"],
        "name": str(card.get("name", path.stem)),
        "file": str(path),
        "domain": "text",
        "unit": found["unit"],
        "default": False,
        "symbols": found["tokens"],
        "bytes": path.stat().st_size,
        "description": card.get("description"),
        "licence": card.get("licence"),
        "results": card.get("results", card.get("valid")),
    }
