"""One file is a whole recogniser: weights, alphabet, feature and network settings, and where it came from.

The format is safetensors: tensors, plus one JSON text under the key "carousel" of its header. Nothing in it
is ever executed, and everything is checked before it is used.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from carousel.common.calibration import Calibration
from carousel.common.data.batching import pad
from carousel.common.errors import InputError, reason
from carousel.common.files import atomic_write
from carousel.common.model.graph import Runner
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet

FORMAT = 1
DOMAINS = ("speech", "image", "ink")
LANGUAGE = ("carousel-language", "carousel-ngrams")  # how the formats of language models begin
CHECKPOINT = "carousel-training"  # what the header of a checkpoint has in place of "carousel"
BROKEN = (  # what a description that makes no sense may raise
    *(RuntimeError, KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError),
    *(MemoryError, SafetensorError),
)


@dataclass
class Model:
    """A recogniser as loaded from a model file."""

    network: Network | Runner
    alphabet: Alphabet
    domain: str  # "speech", "image" or "ink"
    features: dict[str, Any]  # settings of asr.features or hwr.features
    network_settings: dict[str, Any]
    size: int  # features a frame
    decoder: dict[str, Any] = field(default_factory=dict)  # defaults of decode()
    card: dict[str, Any] = field(default_factory=dict)  # name, description, data, licence, results, default …
    path: Path | None = None  # the file, where a command has opened it
    bf16: bool = False  # whether products are of bfloat16, their sums and cell states float32; else float32

    @property
    def stride(self) -> int:
        """Input frames that one output frame stands for."""
        return self.network.stride

    @property
    def calibration(self) -> Calibration:
        """Of confidences, as fitted on a valid set: in the card, so that it goes wherever the card does."""
        return Calibration.from_json(self.card.get("confidence"))

    @property
    def device(self) -> torch.device:
        """Where the network takes its input: for one that ONNX Runtime runs, the CPU."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    def log_probs(self, features: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(frames, size) float32 each → (output frames, symbols) natural logarithms each, as one batch."""
        if not features:
            return []
        if wrong := {array.shape[1] for array in features} - {self.size}:
            raise InputError(
                f"{self.path or 'the model'}: makes {wrong.pop()} features a frame, and its network takes "
                f"{self.size}; get it anew"
            )
        x, lengths = pad(features)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            log_probs, out_lengths = self.network(x.to(self.device), lengths.to(self.device))
        rows = log_probs.float().cpu().numpy()
        return [row[:n] for row, n in zip(rows, out_lengths.tolist(), strict=True)]


def save(
    path: str | Path,
    *,
    tensors: Mapping[str, torch.Tensor],
    alphabet: Alphabet,
    domain: str,
    features: Mapping[str, Any],
    network_settings: Mapping[str, Any],
    size: int,
    decoder: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    half: bool = True,
) -> None:
    """Writes a model file, whole or not at all. `half` stores float16, which `load` widens again."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = describe(domain, alphabet, features, network_settings, size, decoder or {}, card or {})
    kept = {
        name: (t.detach().half() if half else t.detach().float()).cpu().contiguous()
        for name, t in tensors.items()
    }
    with atomic_write(path) as partial:
        save_file(kept, partial, {"carousel": json.dumps(header, ensure_ascii=False)})


def save_like(
    path: str | Path, model: Model, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]
) -> None:
    """Writes a model file with the alphabet, features and settings of a model, and these weights and card."""
    save(
        path,
        tensors=tensors,
        alphabet=model.alphabet,
        domain=model.domain,
        features=model.features,
        network_settings=model.network_settings,
        size=model.size,
        decoder=model.decoder,
        card=card,
    )


def note(path: str | Path, decoder: Mapping[str, Any] | None = None, **card: Any) -> None:
    """Adds entries to the card in a model file, whole or not at all; the weights' bytes stay as they are.

    decoder: other defaults of decoding, if any.

    Raises InputError for what is no model file.
    """
    path = Path(path)
    header = read_header(path)
    header["card"] = header.get("card", {}) | card
    if decoder is not None:
        header["decoder"] = dict(decoder)
    with atomic_write(path) as partial, open(path, "rb") as source, open(partial, "wb") as target:
        (length,) = struct.unpack("<Q", source.read(8))
        table = json.loads(source.read(length))  # of the tensors' places, counted from the end of this JSON
        table["__metadata__"]["carousel"] = json.dumps(header, ensure_ascii=False)
        text = json.dumps(table, ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
        target.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(source, target)


def describe(
    domain: str,
    alphabet: Alphabet,
    features: Mapping[str, Any],
    network_settings: Mapping[str, Any],
    size: int,
    decoder: Mapping[str, Any],
    card: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON part of a model file, as `check_header` takes it."""
    return {
        "format": FORMAT,
        "domain": domain,
        "alphabet": list(alphabet.symbols),
        "features": dict(features),
        "network": dict(network_settings),
        "size": size,
        "decoder": dict(decoder),
        "card": dict(card),
    }


def _open(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give a model file (….safetensors)")
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such model file; `asr models` and `hwr models` list those that ship"
        )
    if path.suffix == ".onnx":
        raise InputError(
            f"{path}: an ONNX file can be run, not trained on; give the .safetensors it came from"
        )
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError, struct.error) as error:
        raise InputError(f"{path}: not a model file, or a damaged one ({error}); get it anew") from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file is what a training is resumed from, rather than a model."""
    try:
        with _open(path) as file:
            return CHECKPOINT in (file.metadata() or {})
    except InputError:
        return False


def read_header(path: str | Path) -> dict[str, Any]:
    """The checked JSON part of a model file, without its tensors."""
    with _open(Path(path)) as file:
        return _header(Path(path), file)


def language_model(path: Path) -> dict[str, Any] | None:
    """The description of a language model of our own, of n-grams or of LSTM layers; None for other files."""
    with _open(path) as file:
        metadata = file.metadata() or {}
    if not metadata.get("format", "").startswith(LANGUAGE):
        return None
    try:
        header = json.loads(metadata["model"])
        tokens = header["words"] if "words" in header else header["tokens"]
        kind = f"{len(header['counts'])}-gram model" if "words" in header else "LSTM language model"
        card = header.get("card", {})
        return {"kind": kind, "unit": str(header["unit"]), "tokens": len(tokens), "card": dict(card)}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is a damaged language model ({reason(error)}); get it anew") from None


def _header(path: Path, file: Any) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if CHECKPOINT in metadata:
        raise InputError(
            f"{path}: this is a checkpoint to resume from; the model is best.safetensors beside it"
        )
    if metadata.get("format", "").startswith(LANGUAGE):
        raise InputError(
            f"{path}: is a language model, not a recogniser; an n-gram model is given with --lm, one of LSTM "
            "layers with --rescore"
        )
    return check_header(path, metadata.get("carousel"), "a safetensors file", "`train`")


def check_header(path: Path, text: str | None, kind: str, maker: str) -> dict[str, Any]:
    """The JSON of a model, checked.

    text: the JSON as it stands in the file, None if it has none; kind and maker: for messages.
    Raises InputError for what is no description of a model, or one that cannot be used.
    """
    try:
        header = json.loads(text)  # type: ignore[arg-type]  # None is a TypeError
        kinds = {"domain": str, "alphabet": list, "features": dict, "network": dict, "size": int}
        wrong = [key for key, kind in kinds.items() if not isinstance(header[key], kind)]
        wrong += [key for key in ("decoder", "card") if not isinstance(header.get(key, {}), dict)]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path}: {kind}, but not of Carousel; give one that {maker} has written") from None
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path}: has format {header.get('format')}, this version reads {FORMAT}; update Carousel"
        )
    if not wrong and not all(isinstance(symbol, str) for symbol in header["alphabet"]):
        wrong = ["alphabet"]
    if not wrong and not isinstance(header.get("decoder", {}).get("decoder", ""), str):
        wrong = ["decoder"]
    if not wrong:
        try:
            Calibration.from_json(header.get("card", {}).get("confidence"))
        except ValueError as error:
            wrong = [str(error)]
    if wrong or header["domain"] not in DOMAINS:
        raise InputError(f"{path}: its description is damaged ({', '.join(wrong) or 'domain'}); get it anew")
    return header


def load(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """Raises InputError if the file is missing, damaged or foreign, or its weights do not fit its header."""
    path = Path(path)
    with _open(path) as file:
        header = _header(path, file)
        try:
            network = empty_network(header, len(file.keys()))
            expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            if wrong := sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)):
                raise ValueError(f"wrong shape or missing: {', '.join(wrong[:3])}")
            network.load_state_dict({name: file.get_tensor(name).float() for name in expected}, assign=True)
        except BROKEN as error:
            raise InputError(
                f"{path}: its weights do not fit its description ({reason(error)}); get it anew"
            ) from error
    network.eval().requires_grad_(False).to(device)
    return model_of(header, network)


def model_of(header: Mapping[str, Any], network: Network | Runner) -> Model:
    """A network with its checked header."""
    return Model(
        network,
        Alphabet(header["alphabet"]),
        header["domain"],
        header["features"],
        header["network"],
        header["size"],
        header.get("decoder", {}),
        header.get("card", {}),
    )


def empty_network(header: Mapping[str, Any], tensors: int) -> Network:
    """The network a header describes, without memory: a header cannot ask for more than the file has.

    tensors: how many the file has, more than layers. Raises one of BROKEN for what makes no network.
    """
    settings = header["network"]
    if not 0 < settings["layers"] <= tensors:
        raise ValueError(f"{settings['layers']} layers in {tensors} tensors")
    with torch.device("meta"):
        return Network(header["size"], len(Alphabet(header["alphabet"])), settings)
