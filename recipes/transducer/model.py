"""A transducer in its folder: its weights, and what it was started from and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import carousel
from carousel.common.data.batching import batches, pad
from carousel.common.errors import InputError, reason
from carousel.common.files import atomic_text, atomic_write
from carousel.common.model.file import BROKEN
from carousel.common.network import Network
from carousel.common.recogniser import BATCH_FRAMES
from carousel.common.text.alphabet import Alphabet
from carousel.recipes.transducer.network import Transducer, scorer
from carousel.recipes.transducer.search import Found, Score
from carousel.recogniser import Recogniser

WEIGHTS, DESCRIPTION = "transducer.safetensors", "transducer.json"
Search = Callable[[Score, int], Found]  # of a score and so many frames


def open_ctc(choice: str) -> tuple[Recogniser, Network]:
    """The CTC model of a name that ships, a file or a run folder. Raises InputError."""
    ctc = carousel.load(choice, device="cpu")
    if not isinstance(ctc.model.network, Network):
        raise InputError(f"{choice}: an ONNX file can only be run; give the .safetensors it came from")
    return ctc, ctc.model.network


def read(network: Transducer, arrays: Sequence[np.ndarray], alphabet: Alphabet, search: Search) -> list[str]:
    """The text of each array (frames, features), in their order; nothing of one without frames."""
    found = [""] * len(arrays)
    for batch in batches([len(array) for array in arrays], BATCH_FRAMES):
        with torch.inference_mode():
            frames, lengths = network.encode(*pad([arrays[index] for index in batch]))
        for index, row, length in zip(batch, frames.numpy(), lengths.tolist(), strict=True):
            found[index] = alphabet.decode(search(scorer(network, row), length)[0][0])
    return found


def save(folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Writes both files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / WEIGHTS) as partial:
        save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, partial)
    with atomic_text(folder / DESCRIPTION) as file:
        json.dump(description, file, ensure_ascii=False, indent=1)


def load(folder: Path) -> tuple[Transducer, Recogniser]:
    """A transducer in evaluation, and the CTC model that it was started from.

    Raises InputError for what is missing or damaged, and where that CTC model is no longer there.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        ctc, start = open_ctc(description["ctc"])
        network = Transducer(start, **description["network"])
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except InputError:
        raise
    except (OSError, SafetensorError, *BROKEN) as error:
        raise InputError(
            f"{folder}: is not the folder of a transducer, or is damaged ({reason(error)}); train it anew"
        ) from None
    return network.eval(), ctc
