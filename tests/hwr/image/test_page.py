"""Pages of several lines are told from single lines, drawn here and of the corpora."""

import numpy as np
import pytest
from PIL import Image

from carousel.common.data.manifest import read_manifest
from carousel.hwr.image.file import read_image
from carousel.hwr.image.page import is_page
from carousel.hwr.ink.render import render
from tests.conftest import corpus

LINES = ("copiste-lines", "poilus-lines", "mss19-lines", "peraire-lines", "stanford-lines", "mnist-strings")


def word(letters: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Loops of pen strokes, one a letter."""
    at = np.linspace(0, 2 * np.pi, 12)
    return [
        np.stack([80 * i + 25 * np.cos(at), rng.uniform(25, 40) * np.sin(at)], axis=1) for i in range(letters)
    ]


def page(lines: int, letters: int = 14) -> np.ndarray:
    rng = np.random.default_rng(lines)
    rows = [render(word(letters, rng), 48)[:, :640] for _ in range(lines)]
    rows = [np.pad(row, ((8, 8), (20, 660 - row.shape[1])), constant_values=255) for row in rows]
    return np.concatenate(rows)


@pytest.mark.parametrize(
    "alter", [lambda g: g, lambda g: 255 - g, lambda g: np.kron(g, np.ones((3, 3), "u1"))]
)
def test_several_lines_are_a_page_and_one_is_not(alter):
    assert all(is_page(alter(page(lines))) for lines in (4, 6, 20))
    assert not is_page(alter(page(1)))


def test_neither_dark_edges_nor_shade_hide_a_page_or_make_one():
    for lines, expected in ((12, True), (1, False)):
        grey = page(lines)
        framed = np.pad(grey, 20)
        shaded = (grey * np.linspace(0.4, 1, grey.shape[1])).astype(np.uint8)
        assert [is_page(g) for g in (framed, shaded)] == [expected, expected]


def test_single_letters_words_and_empty_paper_are_no_page():
    rng = np.random.default_rng(0)
    noise = np.clip(rng.normal(230, 6, (900, 700)), 0, 255).astype(np.uint8)
    tall = np.full((400, 60), 255, np.uint8)
    tall[40:360, 25:32] = 0
    empty = np.full((500, 400), 255, np.uint8)
    assert not any(map(is_page, (noise, tall, empty, page(1, 1), page(1, 3), empty[:1], empty[:, :1])))


def test_every_page_of_a_corpus_is_told():
    pages = sorted(corpus("copiste-pages").glob("*/*.webp"))
    assert [path.name for path in pages[::5] if not is_page(read_image(path))] == []


@pytest.mark.parametrize("name", LINES)
def test_no_line_of_a_corpus_is_taken_for_a_page(name):
    folder = corpus(name)
    manifests = [path for part in ("valid", "test") if (path := folder / f"{part}.jsonl").is_file()]
    samples = [sample for path in manifests for sample in read_manifest(path)][::3]
    assert [
        sample.image.name for sample in samples if is_page(np.asarray(Image.open(sample.image).convert("L")))
    ] == []
