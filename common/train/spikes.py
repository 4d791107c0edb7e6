"""How CTC's spikes form (Graves et al. 2006, figure 4): what the network makes of one sample, validation by
validation, as an animation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.plots import draw_activations
from carousel.common.text.alphabet import Alphabet

FOLDER, ANIMATION = "spikes", "spikes.gif"  # of a run
PAUSE, LAST_PAUSE = 400, 2000  # ms that a picture is shown


def add_picture(
    folder: Path,
    epoch: int,
    features: np.ndarray,
    log_probs: np.ndarray,
    reference: str,
    alphabet: Alphabet,
    settings: Mapping[str, Any],
) -> None:
    """Writes spikes/EPOCH.png of a run, and spikes.gif of all such pictures up to this epoch.

    features: (frames, size) of the sample; log_probs: (output frames, symbols) natural logs; settings: of the
    features. Raises InputError where they cannot be written.
    """
    pictures = folder / FOLDER
    try:
        pictures.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{pictures}: this folder cannot be made ({error.strerror})") from error
    hypothesis = decode(log_probs, alphabet)[0]
    stride = len(features) / max(len(log_probs), 1)
    draw_activations(
        features.T,
        log_probs,
        hypothesis,
        alphabet,
        pictures / f"{epoch:04d}.png",
        title=f"epoch {epoch}: {hypothesis.text}   (says: {reference})",
        seconds=stride * settings["hop"] if "hop" in settings else None,
        letters=len(reference),
    )
    shown = [path for path in sorted(pictures.glob("*.png")) if int(path.stem) <= epoch]
    animate([Image.open(path).convert("RGB") for path in shown], folder / ANIMATION)


def animate(pictures: list[Image.Image], path: Path) -> None:
    """A GIF of pictures, each on white as large as the largest, that stays longest at the last one."""
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in pictures), strict=True))
    frames = [Image.new("RGB", (width, height), "white") for _ in pictures]
    for frame, picture in zip(frames, pictures, strict=True):
        frame.paste(picture)
    pauses = [PAUSE] * (len(frames) - 1) + [LAST_PAUSE]
    with atomic_write(path) as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0)
