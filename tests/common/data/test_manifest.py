import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from carousel.common.data.manifest import check, read_manifest, write_manifest
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet


def test_paths_are_relative_to_the_manifest(tmp_path: Path):
    audio = tmp_path / "sound" / "a.flac"
    audio.parent.mkdir()
    audio.write_bytes(b"x")
    manifest = tmp_path / "lists" / "train.jsonl"
    rows = [{"audio": audio, "text": "e\u0301", "speaker": "s1", "duration": 1.5, "seen": True}]
    assert write_manifest(manifest, rows) == 1
    assert json.loads(manifest.read_text())["audio"] == "../sound/a.flac"
    (sample,) = read_manifest(manifest)
    assert sample.audio is not None and sample.audio.resolve() == audio
    assert (sample.text, sample.group, sample.duration, sample.extra) == ("é", "s1", 1.5, {"seen": True})
    assert sample.where == f"{manifest}:1"


def test_paths_are_right_in_a_folder_behind_a_link(tmp_path: Path):
    """`..` leads out of the folder that a link leads to, not of the one that it stands in."""
    for folder in ("deep/down/data", "sound", "here"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here" / "data").symlink_to(tmp_path / "deep" / "down" / "data")
    for audio in (tmp_path / "sound" / "a.flac", tmp_path / "here" / "data" / "b.flac"):
        audio.write_bytes(b"x")
        write_manifest(tmp_path / "here" / "data" / "m.jsonl", [{"audio": audio, "text": "a"}])
        (sample,) = read_manifest(tmp_path / "here" / "data" / "m.jsonl")
        assert sample.audio is not None and sample.audio.is_file()
    assert json.loads((tmp_path / "here" / "data" / "m.jsonl").read_text())["audio"] == "b.flac"


def test_strokes_survive_and_gz_is_read(tmp_path: Path):
    manifest = tmp_path / "ink.jsonl.gz"
    strokes = [np.array([[0, 1], [2, 3]], np.float32), np.array([[4.5, 5]], np.float32)]
    write_manifest(manifest, [{"strokes": strokes, "text": "i", "writer": "w"}])
    assert gzip.open(manifest, "rt").read().startswith("{")
    (sample,) = read_manifest(manifest)
    assert sample.strokes is not None
    for ours, theirs in zip(sample.strokes, strokes, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_reading_is_lazy(tmp_path: Path):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"audio": "a", "text": "x"}\nbroken\n')
    lines = read_manifest(manifest)
    assert next(lines).text == "x"
    with pytest.raises(InputError, match=r"m\.jsonl:2.*JSON"):
        next(lines)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "exactly one"),
        ('{"text": "x"}', "exactly one"),
        ('{"audio": "a", "image": "b", "text": "x"}', "exactly one"),
        ('{"audio": "a"}', "text"),
        ('{"audio": "a", "text": 5}', "text"),
        ('{"audio": 5, "text": "x"}', "audio"),
        ('{"audio": "a", "text": "x", "duration": "long"}', "duration"),
        ('{"strokes": [[1, 2, 3]], "text": "x"}', "strokes"),
        ('{"strokes": [["a", "b"]], "text": "x"}', "strokes"),
        ('{"strokes": [[[0, 1, 2], [3, 4, 5]]], "text": "x"}', "flat list"),  # not three points
        ('{"strokes": [[[[0, 1]], [[2, 3]]]], "text": "x"}', "flat list"),
        ('{"strokes": {"0": [0, 1]}, "text": "x"}', "flat list"),
        (f'{{"strokes": [[0, 1{"0" * 400}]], "text": "x"}}', "too large"),
        ("[" * 100_000, "nested"),
        (f'{{"audio": "a", "text": "x", "take": {"1" * 5000}}}', "thousands of digits"),
        (r'{"audio": "a", "text": "x\ud800"}', r"'text' holds \\ud800"),
        (r'{"audio": "a", "text": "x", "speaker": "\udfff"}', r"'speaker' holds \\udfff"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(line + "\n")
    with pytest.raises(InputError, match=rf"m\.jsonl:1.*{said}"):
        list(read_manifest(manifest))


def test_a_missing_or_damaged_manifest_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no such manifest"):
        list(read_manifest(tmp_path / "none.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"audio": "a", "text": "x"}\n' * 1000)[:60])
    with pytest.raises(InputError, match=r"cut\.jsonl\.gz"):
        list(read_manifest(tmp_path / "cut.jsonl.gz"))
    corrupt = bytearray(gzip.compress(b'{"audio": "a", "text": "x"}\n'))
    corrupt[10] = 0xFF  # the first byte of the deflated data
    (tmp_path / "corrupt.jsonl.gz").write_bytes(corrupt)
    with pytest.raises(InputError, match=r"corrupt\.jsonl\.gz: cannot be read"):
        list(read_manifest(tmp_path / "corrupt.jsonl.gz"))


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_a_byte_order_mark_is_no_fault(tmp_path: Path, name: str):
    data = b'\xef\xbb\xbf{"audio": "a", "text": "x"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [sample.text for sample in read_manifest(tmp_path / name)] == ["x"]


def test_strokes_may_be_lists_of_points_and_escaped_text_is_read(tmp_path: Path):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(r'{"strokes": [[[0, 1], [2, 3]], []], "text": "\u00e9 \ud83d\ude00"}')
    (sample,) = read_manifest(manifest)
    assert sample.text == "é 😀" and sample.strokes is not None
    np.testing.assert_array_equal(sample.strokes, [[[0, 1], [2, 3]]])


@pytest.mark.filterwarnings("error")
def test_a_coordinate_beyond_float32_is_infinite_without_a_warning(tmp_path: Path):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"strokes": [[0, 1e39]], "text": "x"}\n')
    (sample,) = read_manifest(manifest)
    assert sample.strokes is not None and np.isinf(sample.strokes[0][0, 1])  # readers name it


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path):
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, [{"strokes": [[0, 0]], "text": "old"}])

    def rows():
        yield {"strokes": [[0, 0]], "text": "new"}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_manifest(manifest, rows())
    assert [s.text for s in read_manifest(manifest)] == ["old"]


def test_faults_are_counted_and_first_seen(tmp_path: Path):
    manifest = tmp_path / "m.jsonl"
    (tmp_path / "there").write_bytes(b"")
    rows = [
        {"audio": tmp_path / "there", "text": "ab"},
        {"audio": tmp_path / "gone", "text": "ab"},
        {"audio": tmp_path / "gone2", "text": "ab"},
        {"audio": tmp_path / "there", "text": "  "},
        {"audio": tmp_path / "there", "text": "ab", "duration": 0},
        {"strokes": [], "text": "ab"},
        {"audio": tmp_path / "there", "text": "abœ"},
    ]
    write_manifest(manifest, rows)
    usable, problems = check(read_manifest(manifest), Alphabet("ab "))
    assert len(usable) == 1
    assert problems.counts["missing file"] == 2
    said = "\n".join(problems.lines())
    assert "2 × missing file, first at" in said and "m.jsonl:2" in said and "U+0153" in said
    assert set(problems.counts) >= {"empty text", "zero duration", "no strokes"}
