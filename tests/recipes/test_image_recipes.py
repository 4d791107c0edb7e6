"""Preparing corpora of line images: layouts as published, made small, and the corpora at hand."""

import gzip
import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from carousel.common.data.manifest import check, read_manifest
from carousel.hwr.image.columns import extract_image, read_image
from carousel.recipes import images
from carousel.recipes.mnist_strings import prepare as mnist_strings
from tests.conftest import corpus
from tests.recipes.command import prepare


def picture(path: Path) -> Path:
    """A small line with some ink."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full((24, 60), 255, dtype=np.uint8)
    grey[8:16, 10:50:4] = 0
    Image.fromarray(grey).save(path)
    return path


def rows(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


# --- what they share ---


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 9), min_size=3, max_size=30))
def test_split_by_group_is_a_partition_without_shared_groups(sizes: dict[str, int]) -> None:
    lines = [(group, n) for group, size in sizes.items() for n in range(size)]
    made = [{"image": f"{group}_{n}.png", "text": "x", "writer": group} for group, n in lines]
    splits = images.split_by_group(made, lambda row: row["writer"], 0.1, 0.1)
    assert sorted(row["image"] for split in splits.values() for row in split) == sorted(
        row["image"] for row in made
    )
    groups = {name: {row["writer"] for row in split} for name, split in splits.items()}
    assert all(groups.values())
    assert sum(map(len, groups.values())) == len(sizes)
    again = images.split_by_group(made[::-1], lambda row: row["writer"], 0.1, 0.1)
    assert {name: {row["writer"] for row in split} for name, split in again.items()} == groups


def test_shares_of_the_split() -> None:
    made = [{"image": f"{n}.png", "text": "x", "writer": str(n)} for n in range(1000)]
    splits = images.split_by_group(made, lambda row: row["writer"], 0.1, 0.2)
    assert {name: len(split) for name, split in splits.items()} == {"train": 700, "valid": 100, "test": 200}


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("a01-000u-03", "a01-000u"), ("page_001", "page"), ("p1_r1_l3", "p1_r1"), ("p1.line_12", "p1"),
        ("0001", "0001"), ("word", "word"), ("imp_wikitexte_0022_001", "imp_wikitexte_0022"), ("a_b", "a_b"),
    ],
)  # fmt: skip
def test_page_of(name: str, page: str) -> None:
    assert images.page_of(name) == page


def test_texts_are_written_like_a_pen_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    text = images.write_like_a_pen(
        "  l\u2019e\u0301te\u0301 \u2013\u00a0\u201cfi\ufb01\u2026\u201d «\u0153»  ", counts
    )
    assert text == 'l\'été - "fifi..." «œ»'
    assert counts == dict.fromkeys("\u2019\u2013\u00a0\u201c\ufb01\u2026\u201d", 1)
    images.report(Counter(), counts)
    said = capsys.readouterr().out
    assert said.count("\n") == 7
    assert "1 × '’' (U+2019) written as \"'\"" in said


# --- htr_lines ---


def beside(folder: Path, name: str, text: str, suffix: str = ".png") -> None:
    picture(folder / f"{name}{suffix}")
    (folder / f"{name}.gt.txt").write_text(text + "\n", encoding="utf-8")


def test_pages_with_texts_beside_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = tmp_path / "mine", tmp_path / "out"
    for page in range(10):
        for line in range(3):
            beside(folder / "deep" if page % 2 else folder, f"p{page}_{line:03d}", f"l’air {page}.{line}")
    beside(folder, "p0_900", "")
    beside(folder, "p0_901", "><")
    (folder / "p1_902.gt.txt").write_text("no picture")
    assert prepare("htr_lines", folder, "--output", output) == 0
    said = capsys.readouterr().out
    assert "30 × '’' (U+2019) written as \"'\"" in said
    assert "1 × empty text" in said
    assert "1 × '><'" in said
    splits = {name: rows(output / "mine" / f"{name}.jsonl") for name in ("train", "valid", "test")}
    assert sum(map(len, splits.values())) == 30
    pages = {name: {row["writer"] for row in split} for name, split in splits.items()}
    assert {name: len(split) for name, split in pages.items()} == {"train": 8, "valid": 1, "test": 1}
    assert not pages["train"] & (pages["valid"] | pages["test"])
    for sample in read_manifest(output / "mine" / "train.jsonl"):
        assert sample.image is not None
        assert sample.image.is_file()
        page, line = sample.image.stem.removeprefix("p").split("_")
        assert sample.text == f"l'air {page}.{int(line)}"


def test_same_folder_same_split(tmp_path: Path) -> None:
    for line in range(40):
        beside(tmp_path / "mine", f"p{line // 4}_{line}", "x")
    for output in ("a", "b"):
        assert prepare("htr_lines", tmp_path / "mine", "--output", tmp_path / output) == 0
    for name in ("train", "valid", "test"):
        first, second = (tmp_path / output / "mine" / f"{name}.jsonl" for output in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_as_is_keeps_typography(tmp_path: Path) -> None:
    for line in range(4):
        beside(tmp_path / "mine", f"a{line}", "l’air")
    assert prepare("htr_lines", tmp_path / "mine", "--output", tmp_path / "out", "--as-is") == 0
    assert {row["text"] for row in rows(tmp_path / "out" / "mine" / "train.jsonl")} == {"l’air"}


def test_subfolders_are_the_split(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for name, count in (("train", 5), ("val", 2), ("test", 3)):
        for line in range(count):
            beside(folder / name, f"{name}{line}", name, ".jpg")
    assert prepare("htr_lines", folder, "--output", tmp_path / "out") == 0
    for name, text, count in (("train", "train", 5), ("valid", "val", 2), ("test", "test", 3)):
        assert [row["text"] for row in rows(tmp_path / "out" / "mine" / f"{name}.jsonl")] == [text] * count


def test_ocrd_pictures_with_a_second_ending(tmp_path: Path) -> None:
    for line in range(4):
        picture(tmp_path / "mine" / f"a{line}.nrm.png")
        (tmp_path / "mine" / f"a{line}.gt.txt").write_text("x")
    assert prepare("htr_lines", tmp_path / "mine", "--output", tmp_path / "out") == 0
    assert rows(tmp_path / "out" / "mine" / "train.jsonl")[0]["image"].endswith(".nrm.png")


def empty(folder: Path) -> None:
    folder.mkdir()


def not_utf8(folder: Path) -> None:
    beside(folder, "a", "x")
    (folder / "a.gt.txt").write_bytes(b"\xe9t\xe9")


def two_lines(folder: Path) -> None:
    beside(folder, "a1", "x")
    beside(folder, "b1", "x")


def no_train(folder: Path) -> None:
    beside(folder / "test", "a1", "x")


def outside(folder: Path) -> None:
    beside(folder / "train", "a1", "x")
    beside(folder, "b1", "x")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "no such folder"),
        (empty, "neither"),
        (not_utf8, "UTF-8"),
        (two_lines, "only 2 lines"),
        (no_train, "subfolder train"),
        (outside, "1 lines lie outside"),
    ],
)
def test_folders_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object, says: str
) -> None:
    make(tmp_path / "mine")  # type: ignore[operator]
    assert prepare("htr_lines", tmp_path / "mine", "--output", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_two_folders_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for above in "ab":
        beside(tmp_path / above / "lines", "x1", "x")
    assert prepare("htr_lines", tmp_path / "a" / "lines", tmp_path / "b" / "lines") == 1
    assert "lines: two folders" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "counts", "disjoint"),
    [
        ("copiste-lines", {"train": 4091, "valid": 389, "test": 325}, True),
        ("poilus-lines", {"train": 813, "valid": 169, "test": 196}, True),
        ("mss19-lines", {"train": 1418, "valid": 276}, True),
        ("peraire-lines", {"train": 1858, "valid": 326, "test": 78}, False),
    ],
)
def test_french_lines(tmp_path: Path, name: str, counts: dict[str, int], disjoint: bool) -> None:
    assert prepare("htr_lines", corpus(name), "--output", tmp_path) == 0
    assert {path.stem for path in (tmp_path / name).glob("*.jsonl")} == set(counts)
    writers: list[str] = []
    for split, count in counts.items():
        samples, problems = check(read_manifest(tmp_path / name / f"{split}.jsonl"))
        published = rows(corpus(name) / f"{split}.jsonl")
        assert not problems.counts
        assert len(samples) == count == len(published)
        assert [sample.text for sample in samples] == [row["text"] for row in published]
        writers += {str(sample.group) for sample in samples}
    assert (len(writers) == len(set(writers))) or not disjoint


# --- mnist_strings ---


def write_idx(path: Path, values: np.ndarray, magic: int) -> None:
    data = struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def tiny_mnist(folder: Path, joint: str = "-", end: str = "", train: int = 60, test: int = 24) -> None:
    """Digits of one grey each, 100 + 10 x label, 20 x 10 pixels, so that a line can be read back."""
    folder.mkdir(exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        labels = np.random.default_rng(count).integers(0, 10, count).astype(np.uint8)
        digits = np.zeros((count, 28, 28), dtype=np.uint8)
        digits[:, 4:24, 9:19] = (100 + 10 * labels)[:, None, None]
        write_idx(folder / f"{part}-images{joint}idx3-ubyte{end}", digits, 0x0803)
        write_idx(folder / f"{part}-labels{joint}idx1-ubyte{end}", labels, 0x0801)


def read_back(line: np.ndarray) -> str:
    """The digits of a composed line by the grey of their ink; those that touch their like by their width."""
    ink = 255 - line.max(axis=0, where=line < 255, initial=0).astype(int)
    text, start = "", 0
    for end in range(1, len(ink) + 1):
        if end == len(ink) or ink[end] != ink[start]:
            if ink[start] != 255:
                text += str((ink[start] - 100) // 10) * max(1, round((end - start) / 9.5))
            start = end
    return text


@pytest.mark.parametrize(("joint", "end"), [("-", ""), ("-", ".gz"), (".", "")])
def test_strings_composed_from_idx_files(tmp_path: Path, joint: str, end: str) -> None:
    tiny_mnist(tmp_path / "mnist", joint, end)
    numbers = ["--train", "12", "--valid", "3", "--test", "5"]
    for output in ("a", "b"):
        assert prepare("mnist_strings", tmp_path / "mnist", tmp_path / output, *numbers) == 0
    for name, count in (("train", 12), ("valid", 3), ("test", 5)):
        made = rows(tmp_path / "a" / f"{name}.jsonl")
        assert made == rows(tmp_path / "b" / f"{name}.jsonl")
        assert len(made) == count
        for row in made:
            assert 3 <= len(row["text"]) <= 8
            line = read_image(tmp_path / "a" / row["image"])
            assert np.array_equal(line, read_image(tmp_path / "b" / row["image"]))
            assert line.shape[0] == 32
            assert read_back(line) == row["text"]
            assert extract_image(line, {"height": 32})[0].shape[1] == 32


def test_each_digit_is_used_once_before_any_is_used_again(tmp_path: Path) -> None:
    labels = np.arange(40) % 10
    digits = np.full((40, 28, 10), 200, dtype=np.uint8)
    texts = [text for _, text in mnist_strings.compose(digits, labels, 30, np.random.default_rng(1))]
    used = "".join(texts)
    assert Counter(used[:40]) == dict.fromkeys("0123456789", 4)
    assert Counter(used[40:80]) == dict.fromkeys("0123456789", 4)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("train-images-idx3-ubyte", None, "is missing"),
        ("train-images-idx3-ubyte", b"", "not an idx3-ubyte file"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 0x0803, 60, 28, 28) + b"\0" * 99, "holds 99 values"),
        ("train-labels-idx1-ubyte", struct.pack(">2I", 0x0801, 3) + b"\1\2\3", "3 labels for 60 digits"),
        ("train-labels-idx1-ubyte", struct.pack(">2I", 0x0801, 60) + b"\x0b" * 60, "label 11"),
    ],
)
def test_bad_idx_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes | None, says: str
) -> None:
    tiny_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / name).unlink()
    if data is not None:
        (tmp_path / "mnist" / name).write_bytes(data)
    assert prepare("mnist_strings", tmp_path / "mnist", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert says in said
    assert name in said
    assert said.count("\n") == 1


def test_a_missing_list_of_strings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.jsonl").write_text('{"image": "a.png", "text": "1"}\n')
    assert prepare("mnist_strings", tmp_path, tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"hwr: {tmp_path / 'valid.jsonl'}: is missing; CORPUS")


def test_composed_strings_at_hand(tmp_path: Path) -> None:
    assert prepare("mnist_strings", corpus("mnist-strings"), tmp_path) == 0
    for name, count in (("train", 6000), ("valid", 500), ("test", 509)):
        samples, problems = check(read_manifest(tmp_path / f"{name}.jsonl"))
        assert len(samples) == count
        assert not problems.counts
        assert all(sample.text.isdigit() for sample in samples)


@pytest.mark.parametrize("name", ["mnist_strings", "htr_lines", "iam"])
def test_recipe_composes(name: str) -> None:
    """The recipe's yaml stands on conf/base.yaml with nothing that base does not know."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from carousel.common.train.recipe import ROOT, find_recipe
    from carousel.common.train.settings import register

    register()

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        base = compose("base", ["features=image", "augment=image", "network=conv2d"])
    with initialize_config_dir(str(find_recipe(name)), version_base="1.3"):
        path = [f"hydra.searchpath=[file://{ROOT / 'conf'}]"]
        recipe = compose("recipe", [*path, f"++name={name}"])
    assert OmegaConf.missing_keys(recipe) == set()
    assert recipe.domain == recipe.features.kind == "image"
    for key in recipe:
        if OmegaConf.is_dict(recipe[key]) and not OmegaConf.is_missing(base, key) and key != "data":
            assert set(recipe[key]) <= set(base[key]), key
