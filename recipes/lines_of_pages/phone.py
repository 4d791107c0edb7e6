"""Pages as a phone photographs them: on a table, aslant, in uneven light, a little blurred."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

ROOM = 0.08  # of the page's size around it, which shows the table
SHIFT = 0.06  # of the page's size by which each corner is off: perspective
TURN = 4.0  # degrees at most
DARKEST = (0.45, 0.75)  # of the light, at the page's darkest corner
SHADOW = (0.55, 0.8)  # of the light in the shadow of a hand or phone, with a soft edge
TABLE = (40, 110)  # grey levels
BLUR = (0.6, 1.4)  # pixels of a page 1530 wide, standard deviation
NOISE = 4.0  # grey levels, standard deviation
QUALITY = 60  # of JPEG


@dataclass(frozen=True)
class Photo:
    """The picture, and how its points lie on the page."""

    grey: np.ndarray  # (rows, columns) uint8
    matrix: np.ndarray  # (3, 3), of homogeneous points x, y, 1 of the photo to those of the page

    def on_page(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) x, y of the photo as points of the page."""
        found = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.matrix.T
        return found[:, :2] / found[:, 2:]


def photographed(page: np.ndarray, rng: np.random.Generator) -> Photo:
    """A photo of a page (rows, columns) uint8, of about the same size."""
    rows, columns = page.shape
    size = np.array([columns, rows], dtype=np.float64)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    angle = np.radians(rng.uniform(-TURN, TURN))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shown = (corners + rng.uniform(-SHIFT, SHIFT, (4, 2)) * size - size / 2) @ turn + size / 2
    room = ROOM * size
    matrix = _projective(shown + room, corners)
    width, height = (int(side) for side in size + 2 * room)
    table = int(rng.uniform(*TABLE))
    coefficients = (matrix / matrix[2, 2]).ravel()[:8].tolist()
    mode = Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    picture = np.asarray(Image.fromarray(page).transform((width, height), *mode), dtype=np.float32)
    inside = Image.fromarray(np.full(page.shape, 255, np.uint8)).transform((width, height), *mode)
    share = np.asarray(inside, dtype=np.float32) / 255
    grain = ndimage.gaussian_filter(rng.normal(0, 40, (height // 4 + 1, width // 4 + 1)), (0.5, 8))
    wood = np.asarray(Image.fromarray(grain.astype(np.float32)).resize((width, height)))
    lit = (picture * share + (table + wood) * (1 - share)) * _light(width, height, rng)
    blurred = ndimage.gaussian_filter(lit, rng.uniform(*BLUR) * columns / 1530)
    noisy = blurred + rng.normal(0, NOISE, blurred.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return Photo(np.asarray(Image.open(file)), matrix)


def _projective(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The matrix (3, 3) that takes four points (4, 2) to four others."""
    rows = []
    for (x, y), (u, v) in zip(points, others, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(rows), others.ravel()), 1.0).reshape(3, 3)


def _light(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Light that falls off to a corner, and a shadow with a soft edge, (height, width) float32."""
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * x + np.sin(angle) * y + 1.42) / 2.84
    light = 1 - (1 - rng.uniform(*DARKEST)) * along
    angle, place, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.7), rng.uniform(0.03, 0.2)
    edge = (np.cos(angle) * x + np.sin(angle) * y - place) / soft
    return light * (1 - (1 - rng.uniform(*SHADOW)) / (1 + np.exp(-np.clip(edge, -30, 30))))
