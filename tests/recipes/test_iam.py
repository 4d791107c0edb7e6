"""IAM in its published layout, made small."""

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image

from carousel.common.data.manifest import read_manifest
from carousel.recipes.iam import prepare as iam
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


LINES = {
    "a01-000u-00": ("000", "A|MOVE|to|stop|Mr.|Gaitskell|from", "A MOVE to stop Mr. Gaitskell from"),
    "a01-000u-01": ("000", 'he|said|(|"|no|"|)|,|twice|.', 'he said (" no "), twice.'),
    "a01-003-00": ("001", "Though|they|may|gather|some|?", "Though they may gather some?"),
    "b02-045-00": ("002", "is|it|;|or|is|it|n't|!", "is it; or is it n't!"),
    "c03-000a-00": ("003", "one|line", "one line"),
}


def tiny_iam(folder: Path, xml_texts: bool) -> None:
    for line in LINES:
        picture(iam.picture(folder, line))
    if xml_texts:
        (folder / "xml").mkdir()
        for form in {iam.form_of(line) for line in LINES}:
            writer = next(entry[0] for line, entry in LINES.items() if iam.form_of(line) == form)
            inner = "".join(
                f"<line id='{line}' text={quoteattr(text.replace(chr(34), '&quot;'))}><word id='w'/></line>"
                for line, (_, _, text) in LINES.items()
                if iam.form_of(line) == form
            )
            text = (
                f"<form id='{form}' writer-id='{writer}'><handwritten-part>{inner}</handwritten-part></form>"
            )
            (folder / "xml" / f"{form}.xml").write_text(text, encoding="utf-8")
        return
    (folder / "ascii").mkdir()
    numbers = "154 19 408 746 1661 89"
    listed = [
        f"{line} {'err' if n else 'ok'} {numbers} {entry[1]}" for n, (line, entry) in enumerate(LINES.items())
    ]
    (folder / "ascii" / "lines.txt").write_text("#--- lines.txt ---#\n#\n" + "\n".join(listed) + "\n")
    forms = sorted({f"{iam.form_of(line)} {entry[0]} 2 prt 7 5 52 36" for line, entry in LINES.items()})
    (folder / "ascii" / "forms.txt").write_text("# forms\n" + "\n".join(forms) + "\n")


def write_lists(folder: Path, **lists: str) -> None:
    (folder / "task").mkdir()
    for name, entries in lists.items():
        (folder / "task" / f"{name}.txt").write_text("\n".join(entries.split()) + "\n")


@pytest.mark.parametrize("xml_texts", [True, False])
def test_iam_with_split_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str], xml_texts: bool) -> None:
    folder = tmp_path / "iam"
    tiny_iam(folder, xml_texts)
    write_lists(
        folder,
        trainset="a01-000u",
        validationset1="a01-003-00",
        validationset2="b02-045-00",
        testset="c03-000a",
    )
    assert prepare("iam", folder, tmp_path / "out") == 0
    splits = {
        name: list(read_manifest(tmp_path / "out" / f"{name}.jsonl")) for name in ("train", "valid", "test")
    }
    assert {name: [s.image.stem for s in split if s.image] for name, split in splits.items()} == {
        "train": ["a01-000u-00", "a01-000u-01"],
        "valid": ["a01-003-00", "b02-045-00"],
        "test": ["c03-000a-00"],
    }
    for sample in (sample for split in splits.values() for sample in split):
        assert sample.image is not None
        assert sample.image.is_file()
        assert (sample.group, sample.text) == (LINES[sample.image.stem][0], LINES[sample.image.stem][2])
    assert "left out" not in capsys.readouterr().out


def test_iam_without_lists_splits_by_writer(tmp_path: Path) -> None:
    tiny_iam(tmp_path / "iam", True)
    assert prepare("iam", tmp_path / "iam", tmp_path / "out") == 0
    writers = [
        {row["writer"] for row in rows(tmp_path / "out" / f"{name}.jsonl")}
        for name in ("train", "valid", "test")
    ]
    assert all(writers)
    assert sum(map(len, writers)) == 4


def test_iam_lines_in_no_list_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_iam(tmp_path / "iam", True)
    write_lists(tmp_path / "iam", trainset="a01-000u", validationset1="a01-003", testset="b02-045")
    assert prepare("iam", tmp_path / "iam", tmp_path / "out") == 0
    assert "left out: 1 × line that is in no split list" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"trainset": "a01-000u", "testset": "b02-045"}, "none for valid"),
        ({"trainset": "a01-000u z99-999", "validationset1": "a01-003", "testset": "b02-045"}, "z99-999"),
        ({"trainset": "a01-000u", "validationset1": "a01-000u-01", "testset": "b02-045"}, "a01-000u-01"),
    ],
)
def test_iam_bad_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lists: dict[str, str], says: str
) -> None:
    tiny_iam(tmp_path / "iam", True)
    write_lists(tmp_path / "iam", **lists)
    assert prepare("iam", tmp_path / "iam", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_iam_missing_picture_and_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "iam"
    tiny_iam(folder, False)
    iam.picture(folder, "a01-003-00").unlink()
    assert prepare("iam", folder, tmp_path / "out") == 1
    assert "a01-003-00.png: missing picture" in capsys.readouterr().err
    (folder / "ascii" / "lines.txt").write_text("a01-000u-00 ok 154\n")
    assert prepare("iam", folder, tmp_path / "out") == 1
    assert "lines.txt:1" in capsys.readouterr().err
    (folder / "xml").mkdir()
    (folder / "xml" / "a01-000u.xml").write_text("<form>")
    assert prepare("iam", folder, tmp_path / "out") == 1
    assert "a01-000u.xml" in capsys.readouterr().err
    assert prepare("iam", tmp_path / "none", tmp_path / "out") == 1
