"""Tiny untrained models in real model files: what they read is nonsense, but it comes the whole way."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

FEATURES: dict[str, dict[str, Any]] = {
    "speech": {
        "kind": "logmel",
        "sample_rate": 16000,
        "window": 0.025,
        "hop": 0.010,
        "filters": 20,
        "deltas": 0,
        "low": 20,
        "high": 7600,
        "preemphasis": 0.97,
    },
    "image": {"kind": "image", "height": 24},
    "ink": {"kind": "ink"},
}


def tiny_model(
    path: Path,
    domain: str,
    symbols: str = " abcdefgh",
    seed: int = 1,
    network: Mapping[str, Any] | None = None,
    scale: float = 5,
    **card: Any,
) -> Path:
    """Writes a model file. Its weights are drawn large, so that frames differ and the text is not empty.

    network: settings beside the usual ones; scale: of the weights.
    """
    import torch

    from carousel.asr import features as speech
    from carousel.common.model import file as model_file
    from carousel.common.network import Network
    from carousel.common.text.alphabet import Alphabet
    from carousel.hwr import features as handwriting

    settings = FEATURES[domain]
    size = (speech if domain == "speech" else handwriting).size(settings)
    network_settings = {"front": "stack", "stride": 3, "hidden": 8, "layers": 1, "cell": "lstm"}
    network_settings |= network or {}
    torch.manual_seed(seed)
    built = Network(size, len(symbols) + 1, network_settings)
    tensors = {name: scale * tensor for name, tensor in built.state_dict().items()}
    model_file.save(
        path,
        tensors=tensors,
        alphabet=Alphabet(symbols),
        domain=domain,
        features=settings,
        network_settings=network_settings,
        size=size,
        card=card,
    )
    return path


def ship(monkeypatch: Any, program: str, **folders: Path) -> None:
    """Lets `asr` or `hwr` find other models= or samples= than those that ship."""
    whole = importlib.import_module(f"carousel.{program}.cli").PROGRAM
    domains = tuple(replace(domain, **folders) for domain in whole.domains)
    monkeypatch.setattr(f"carousel.{program}.cli.PROGRAM", replace(whole, domains=domains))


def with_features(path: Path, **features: Any) -> Path:
    """The same model with other features in its header; None leaves one out."""
    from safetensors.torch import load_file, save_file

    from carousel.common.model import file as model_file

    header = model_file.read_header(path)
    changed = {key: value for key, value in {**header["features"], **features}.items() if value is not None}
    other = path.with_name("altered.safetensors")
    save_file(load_file(path), other, {"carousel": json.dumps({**header, "features": changed})})
    return other
