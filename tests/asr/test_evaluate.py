"""`asr evaluate` as a user calls it, with a tiny untrained model."""

# ruff: noqa: F811 (fixtures of another file)

import json

import jiwer
import pytest

from tests.asr.test_cli import model, recordings, run  # noqa: F401


@pytest.fixture
def manifest(recordings, tmp_path):
    rows = [
        {"audio": "in/a.wav", "text": "abc", "speaker": "x", "seen_label": True},
        {"audio": "in/b.flac", "text": "bad cab", "speaker": "y", "seen_label": False},
        {"audio": "in/sub/a.wav", "text": "dead beef", "speaker": "x", "seen_label": False},
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rates(pairs: list[tuple[str, str]]) -> dict:
    references, hypotheses = zip(*pairs, strict=True)
    words = jiwer.process_words(list(references), list(hypotheses))
    chars = jiwer.process_characters(list(references), list(hypotheses))
    return {
        "cer": chars.cer,
        "wer": words.wer,
        "chars": {
            "total": sum(map(len, references)),
            "substitutions": chars.substitutions,
            "insertions": chars.insertions,
            "deletions": chars.deletions,
        },
        "words": {
            "total": sum(len(reference.split()) for reference in references),
            "substitutions": words.substitutions,
            "insertions": words.insertions,
            "deletions": words.deletions,
        },
    }


def agree(report: dict, expected: dict) -> None:
    assert report["chars"] == expected["chars"] and report["words"] == expected["words"]
    assert report["cer"] == pytest.approx(expected["cer"]) and report["wer"] == pytest.approx(expected["wer"])


def test_evaluate_prints_the_rates_of_the_texts_that_transcribe_reads(
    model, manifest, recordings, tmp_path, capsys
):
    texts = {
        name: run(capsys, "transcribe", recordings / name, "--model", model)[1].strip()
        for name in ("a.wav", "b.flac", "sub/a.wav")
    }
    output = tmp_path / "hypotheses.jsonl"
    words = [
        "evaluate",
        manifest,
        "--model",
        model,
        "--json",
        "--by",
        "speaker",
        "--by",
        "seen_label",
        "--output",
        output,
    ]
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    report = json.loads(out)
    pairs = [("abc", texts["a.wav"]), ("bad cab", texts["b.flac"]), ("dead beef", texts["sub/a.wav"])]
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["reference"], " ".join(row["hypothesis"].split())) for row in rows] == pairs
    written = [(row["reference"], row["hypothesis"]) for row in rows]
    agree(report, rates(written))
    agree(report["by"]["speaker"]["x"], rates([written[0], written[2]]))
    agree(report["by"]["seen_label"]["false"], rates(written[1:]))
    assert report["items"] == 3 and report["failed"] == 0 and report["seconds"] > 0
    for rate in ("cer", "wer"):
        low, high = report[f"{rate}_interval"]
        assert low <= report[rate] <= high


def test_evaluate_without_json_is_a_table_and_tsv_has_its_columns(model, manifest, tmp_path, capsys):
    output = tmp_path / "hypotheses.tsv"
    status, out, _ = run(
        capsys, "evaluate", manifest, "--model", model, "--by", "speaker", "--output", output
    )
    assert status == 0
    assert "3 items" in out and "speaker=y words" in out and "all chars" in out
    header, *rows = (line.split("\t") for line in output.read_text().splitlines())
    assert header[2:4] == ["reference", "hypothesis"] and len(rows) == 3
    assert all(len(row) == len(header) for row in rows)


def test_samples_that_cannot_be_read_are_named_and_counted_and_the_others_done(
    model, manifest, recordings, capsys
):
    whole = json.loads(run(capsys, "evaluate", manifest, "--model", model, "--json")[1])
    with manifest.open("a") as file:
        file.write('{"audio": "in/missing.wav", "text": "abc"}\n{"image": "in/x.png", "text": "abc"}\n')
    status, out, err = run(capsys, "evaluate", manifest, "--model", model, "--json")
    report = json.loads(out)
    assert status == 1 and report["failed"] == 2 and report["items"] == 3 and report["cer"] == whole["cer"]
    assert (
        len(err.splitlines()) == 2
        and "missing.wav" in err.splitlines()[0]
        and "test.jsonl:5" in err.splitlines()[1]
    )


def test_a_damaged_manifest_gives_no_rates(model, manifest, capsys):
    with manifest.open("a") as file:
        file.write('{"audio": "in/a.wav", "text"\n')
    status, out, err = run(capsys, "evaluate", manifest, "--model", model, "--json")
    assert (status, out, err.count("\n")) == (1, "", 1) and "test.jsonl:4" in err


def test_characters_that_the_model_cannot_write_are_errors_and_named(model, manifest, capsys):
    manifest.write_text('{"audio": "in/a.wav", "text": "ñandú"}\n')
    _, out, err = run(capsys, "evaluate", manifest, "--model", model, "--json")
    assert "U+00F1" in err and "U+00FA" in err
    assert json.loads(out)["chars"]["total"] == 5


def test_an_unknown_key_of_groups_is_wrong_usage(model, manifest, capsys):
    status, out, err = run(capsys, "evaluate", manifest, "--model", model, "--by", "dialect")
    assert (status, out, err.count("\n")) == (2, "", 1) and "dialect" in err


def test_references_in_the_other_case_are_told_and_can_be_ignored(model, recordings, tmp_path, capsys):
    read = run(capsys, "transcribe", recordings / "a.wav", "--model", model)[1].strip()
    path = tmp_path / "capitals.jsonl"
    path.write_text(json.dumps({"audio": "in/a.wav", "text": read.upper().replace(" ", "-") + "!"}) + "\n")
    words = ("evaluate", path, "--model", model, "--json")
    status, out, err = run(capsys, *words)
    report = json.loads(out)
    assert status == 0 and report["wer"] == 1 and report["ignored"] == []
    assert "errors are of case alone" in err and "--ignore case" in err
    assert "'!'" in err and "'A'" not in err  # it can write none of them, but only case parts the letters
    status, out, err = run(capsys, *words, "--ignore", "case,punctuation")
    report = json.loads(out)
    assert (status, err, report["cer"], report["wer"]) == (0, "", 0, 0)
    assert report["ignored"] == ["case", "punctuation"] and report["calibration"] is None
    output = tmp_path / "hypotheses.jsonl"
    _, out, _ = run(capsys, *words[:-1], "--ignore", "punctuation,case", "--output", output)
    assert "ignoring punctuation and case" in out
    row = json.loads(output.read_text())
    assert (row["char_errors"], row["word_errors"]) == (0, 0) and row["reference"].endswith("!")


def test_what_cannot_be_ignored_is_wrong_usage(model, manifest, capsys):
    with pytest.raises(SystemExit) as left:
        run(capsys, "evaluate", manifest, "--model", model, "--ignore", "accents")
    assert left.value.code == 2 and "not one of case, punctuation" in capsys.readouterr().err
    status, out, err = run(capsys, "evaluate", manifest, "--model", model, "--ignore", "case", "--calibrate")
    assert (status, out) == (2, "") and "leave out --ignore" in err
