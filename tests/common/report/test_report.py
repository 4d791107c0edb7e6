"""Reports: what they count, that they hold together, and that no text can leave its place in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from carousel.asr.cli import main as asr
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.errors import InputError
from carousel.common.report import measures
from carousel.common.report.page import DATA, MEDIA, read_rows, write_report
from carousel.common.text.metrics import aligned, edits, error_rates
from carousel.hwr.cli import main as hwr
from tests.tiny import tiny_model

TEXTS = st.text("ab c<&", max_size=8)


def read_as(text: str, confidence: float = 0.5) -> Hypothesis:
    return Hypothesis(tuple(Symbol(c, k, k + 1, confidence) for k, c in enumerate(text)), 0.0)


def rows_of(*pairs: tuple[str, str], group: str | None = None) -> list[measures.Row]:
    return [
        measures.row(Sample(said, group=group, where=f"m.jsonl:{k}"), read_as(read))
        for k, (said, read) in enumerate(pairs, 1)
    ]


@given(TEXTS, TEXTS)
def test_alignment_is_that_of_the_edits(reference: str, hypothesis: str) -> None:
    pairs = aligned(reference, hypothesis)
    assert "".join(said or "" for said, _ in pairs) == reference
    assert "".join(read or "" for _, read in pairs) == hypothesis
    found = edits(reference, hypothesis)
    assert sum(said is not None and read is not None and said != read for said, read in pairs) == found[0]
    assert [sum(side is None for side in sides) for sides in zip(*pairs, strict=True)] in ([], [*found[1:3]])


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_parts_add_up_to_the_whole(pairs: list[tuple[str, str]]) -> None:
    rows = rows_of(*pairs)
    whole = measures.rates(rows)
    assert {key: whole[key] for key in ("cer", "wer", "chars", "words")} == {
        key: value for key, value in error_rates(pairs).items() if key in ("cer", "wer", "chars", "words")
    }
    errors = sum(row.char_errors for row in rows)
    assert sum(count for *_, count in measures.confusions(rows)) == errors
    for bins in (
        measures.by_bin(rows, lambda row: row.chars, measures.LENGTHS),
        measures.by_bin(rows, lambda row: row.chars, (2, 5)),
    ):
        assert sum(found["items"] for *_, found in bins) == len(rows)
        assert sum(found["chars"]["substitutions"] for *_, found in bins) == whole["chars"]["substitutions"]
    assert measures.from_json(json.loads(json.dumps(measures.as_json(rows)))) == rows


def test_bins_begin_with_their_first_value() -> None:
    rows = rows_of(("a" * 9, ""), ("a" * 10, ""), ("a" * 500, ""))
    bins = measures.by_bin(rows, lambda row: row.chars, measures.LENGTHS)
    assert [bin[:2] for bin in bins] == [(None, 10), (10, 20), (160, None)]


def test_two_reports_are_compared_on_what_is_in_both() -> None:
    before = rows_of(("abc", "abd"), ("cab", "c"), ("b", "b"), ("x", "y"))
    now = rows_of(("abc", "abc"), ("cab", "c"), ("b", "a"), ("other", "other"))
    found = measures.compared(now, before)
    assert found["items"] == 3 and found["cer"]["before"] == 3 / 7 and found["cer"]["now"] == 3 / 7
    low, high = found["cer"]["interval"]
    assert low < 0 < high
    assert [now.reference for _, now in found["better"]] == ["abc"]
    assert [now.reference for _, now in found["worse"]] == ["b"]
    assert measures.compared(now, now)["cer"] == {"before": 0.25, "now": 0.25, "interval": [0.0, 0.0]}
    assert measures.compared(now, rows_of(("z", "z")))["items"] == 0


def test_texts_are_texts_wherever_they_stand(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    rows = rows_of((evil, "<b>"), ("a", evil), group=evil)
    path = tmp_path / "r.html"
    write_report(path, evil, {evil: evil}, rows, pictures=[(evil, ("image/png", b"x"))])
    page = path.read_text()
    assert page.count("<script") == page.count("</script>") == 1 and "<b>" not in page
    assert read_rows(path) == rows
    write_report(tmp_path / "two.html", "two", {}, rows, before=path)
    assert "Compared with" in (tmp_path / "two.html").read_text()


def test_a_thousand_samples_stay_below_five_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh "), 60)) for _ in range(1000)]
    rows = rows_of(*((text, text[::2]) for text in texts))
    write_report(tmp_path / "r.html", "r", {}, rows, show=lambda row: ("image/jpeg", bytes(MEDIA // 20)))
    assert (tmp_path / "r.html").stat().st_size < 5_000_000
    assert len(read_rows(tmp_path / "r.html")) == 1000


@pytest.mark.parametrize(
    "text", ["", "<p>", '<script type="application/json" id="samples">[{"a": 1}]</script>']
)
def test_what_is_no_report_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.html").write_text(text)
    with pytest.raises(InputError, match=r"x\.html: is not a report"):
        read_rows(tmp_path / "x.html")


def test_evaluate_writes_a_page_with_what_was_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "bad"}\n')
    words = ["evaluate", str(tmp_path / "m.jsonl"), "--model", str(model), "--report"]
    assert asr([*words, str(tmp_path / "r.html")]) == 0
    assert asr([*words, str(tmp_path / "s.html"), "--compare", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "s.html").read_text()
    assert "data:audio/mpeg;base64,SUQz" in page or "data:audio/mpeg;base64,//" in page
    (found,) = json.loads(DATA.search(page)[1])
    assert found["reference"] == "bad" and found["chars"] == 3
    capsys.readouterr()
    assert asr([*words, str(tmp_path / "r.png")]) == 2
    assert asr([*words[:-1], "--compare", str(tmp_path / "r.html")]) == 2
    assert asr([*words, str(tmp_path / "t.html"), "--compare", str(tmp_path / "m.jsonl")]) == 1
    assert "is not a report" in capsys.readouterr().err


def test_strokes_are_drawn(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "ink.safetensors", "ink", name="ink")
    (tmp_path / "m.jsonl").write_text('{"strokes": [[0, 0, 10, 20, 30, 5]], "text": "bad"}\n')
    words = [
        "evaluate",
        str(tmp_path / "m.jsonl"),
        "--model",
        str(model),
        "--report",
        str(tmp_path / "r.html"),
    ]
    assert hwr(words) == 0 and "data:image/jpeg;base64," in (tmp_path / "r.html").read_text()
