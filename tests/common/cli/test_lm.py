import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from carousel.common.data.manifest import write_manifest
from carousel.common.decoding import decode
from carousel.common.decoding.tuning import MOST, descend, tune
from carousel.common.errors import InputError
from carousel.common.language import ngram, ngram_files, texts
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams
from carousel.common.model.names import model_files
from carousel.common.text.alphabet import Alphabet
from carousel.hwr.cli import main
from tests.tiny import tiny_model

STROKES = np.cumsum(np.random.default_rng(0).normal(0, 9, (60, 2)), 0).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("a bad cab\nfed a bag\n\na bad bag\n" * 3, encoding="utf-8")
    rows = [{"strokes": [STROKES + k], "text": text} for k, text in enumerate(["a bad bag", "a cab"])]
    write_manifest(tmp_path / "valid.jsonl", rows)
    tiny_model(tmp_path / "tiny.safetensors", "ink")
    return tmp_path


def test_a_model_of_texts_is_what_estimate_makes(folder: Path, capsys: pytest.CaptureFixture[str]):
    output = folder / "new" / "words.arpa.gz"
    arguments = ["lm", str(folder / "text.txt"), "--order", "2", "--output", str(output)]
    assert main([*arguments, "--valid", str(folder / "valid.jsonl")]) == 0
    said = capsys.readouterr().out
    expected = estimate([line.split() for line in ("a bad cab", "fed a bag", "a bad bag")] * 3, 2)
    perplexity = expected.perplexity([["a", "bad", "bag"], ["a", "cab"]])[0]
    assert f"perplexity {perplexity:.2f}, 7 tokens, 0.00% unknown" in said
    assert f"words, {expected.counts[0]} of order 1, {expected.counts[1]} of order 2;" in said
    assert ngram_files.load(output).scores(["a", "bad"]) == pytest.approx(
        expected.scores(["a", "bad"]), abs=1e-4
    )


def test_texts_are_read_plain_packed_and_from_manifests(folder: Path):
    packed = folder / "text.txt.xz"
    packed.write_bytes(lzma.compress((folder / "text.txt").read_bytes()))
    lines = list(texts.read_texts(packed))
    assert lines == list(texts.read_texts(folder / "text.txt")) and len(lines) == 12
    assert list(texts.read_texts(folder / "valid.jsonl")) == ["a bad bag", "a cab"]


def test_texts_are_written_as_the_recogniser_would():
    capitals = texts.Fit(Alphabet(" ABC"))
    assert capitals("a  b\tç!c\n") == "A B C"
    assert "left out 2 characters" in (said := capitals.note()) and "'Ç' (U+00C7)" in said
    assert texts.Fit(Alphabet(" abAB"))("aB") == "aB"
    assert texts.Fit(None)(" Aç\n") == "Aç"


def test_running_text_is_one_stream(folder: Path):
    pieces = list(texts.running(iter([["a", "b"], ["c"]])))
    assert pieces == [["a", "b", ngram.SPACE, "c", ngram.SPACE]]
    output = folder / "letters.safetensors"
    arguments = ["lm", str(folder / "text.txt"), "--unit", "characters", "--running", "--output", str(output)]
    assert main(arguments) == 0
    model = ngram_files.load(output)
    assert model.running and model.unit == "characters" and model.order == 6


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["{}/none.txt", "--output", "{}/x.arpa"], 1, "none.txt"),
        (["{}/text.txt", "--output", "{}/x.bin"], 2, "x.bin"),
        (["{}/text.txt", "--output", "{}/x.arpa", "--running"], 2, "characters"),
        (["{}/text.txt", "--output", "{}/x.arpa", "--model", "nobody"], 1, "nobody"),
    ],
)
def test_mistakes_get_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str], words, status, said):
    assert main(["lm", *(word.format(folder) for word in words)]) == status
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_descending_finds_the_valley():
    place, value = descend(lambda weight, bonus: (weight - 1.3) ** 2 + (bonus + 1.1) ** 2)
    assert place == pytest.approx((1.3, -1.1), abs=0.11) and value < 0.02
    assert descend(lambda weight, bonus: -weight)[0][0] <= MOST[0]
    assert descend(lambda weight, bonus: weight)[0][0] == 0


def test_what_is_tuned_is_kept_and_used(tmp_path: Path):
    """The network cannot tell b from a, and the texts have an a there: only the model's weight helps."""
    log_probs = np.log(np.array([[0.02, 0.9, 0.04, 0.04], [0.02, 0.02, 0.4, 0.56], [0.9, 0.02, 0.04, 0.04]]))
    alphabet = Alphabet(" ab")
    made = estimate([[ngram.SPACE, "a"]] * 9 + [[ngram.SPACE, "b"]] * 3, 2)
    path = tmp_path / "lm.safetensors"
    ngram_files.save(NGrams(**{**made.__dict__, "unit": "characters", "advice": {"lm_weight": 0.0}}), path)
    assert decode(log_probs, alphabet, "beam", lm=path)[0].text == " b"
    found = tune([log_probs], ["a"], alphabet, {"lm": path})
    assert found["lm_weight"] > 0 and ngram_files.load(path).advice == found
    again = tmp_path / "again.safetensors"  # files are kept by their names
    ngram_files.save(ngram_files.load(path), again)
    assert decode(log_probs, alphabet, "beam", lm=again)[0].text == " a"


def test_the_cost_of_unknown_words_is_tuned_for_a_model_over_words(tmp_path: Path):
    """The network is more or less sure of a word that the model does not have."""
    sure = [np.log([[0.01, 0.01, 0.97, 0.01], [np.exp(-gap), 1e-4, 1e-4, 1.0]]) for gap in (4, 3, 1.4, 0.8)]
    alphabet, path = Alphabet(" ab"), tmp_path / "lm.safetensors"
    ngram_files.save(NGrams(**{**estimate([["a"]] * 9, 2).__dict__, "advice": {"lm_weight": 0.0}}), path)
    assert decode(sure[-1], alphabet, "beam", lm=path)[0].text == "a"
    fixed = tune(sure, ["ab"] * 4, alphabet, {"lm": path, "unknown": -30.0})
    assert "unknown" not in fixed and "unknown" not in ngram_files.load(path).advice
    found = tune(sure, ["ab"] * 4, alphabet, {"lm": path})
    assert -2.4 < found["unknown"] <= 0 and ngram_files.load(path).advice == found
    again = tmp_path / "again.safetensors"
    ngram_files.save(ngram_files.load(path), again)
    assert decode(sure[-1], alphabet, "beam", lm=again)[0].text == "ab"
    ngram_files.save(NGrams(**{**ngram_files.load(path).__dict__, "advice": {"unknown": 1.0}}), again)
    with pytest.raises(InputError, match="damaged"):
        ngram_files.load(again)


def test_each_option_of_the_search_reaches_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "words.txt").write_text("a\nbad\n")
    lm = folder / "lm.safetensors"
    assert main(["lm", str(folder / "text.txt"), "--output", str(lm)]) == 0
    capsys.readouterr()

    def read(*options: str) -> tuple[str, float]:
        output = folder / "out.jsonl"
        manifest, model = str(folder / "valid.jsonl"), str(folder / "tiny.safetensors")
        words = ["evaluate", manifest, "--model", model, "--json", "--output", str(output), *options]
        assert main(words) == 0, capsys.readouterr().err
        row = json.loads(output.read_text().splitlines()[0])
        return row["hypothesis"], row["score"]

    plain = read("--decoder", "beam", "--beam", "50")
    with_lm = read("--beam", "50", "--lm", str(lm))
    assert with_lm != plain
    for option in ("--lm-weight=1.5", "--bonus=2", "--unknown=-1"):
        assert read("--beam", "50", "--lm", str(lm), option)[1] != with_lm[1]
    listed = ("--beam", "50", "--lexicon", str(folder / "words.txt"))
    assert set(read(*listed)[0].split()) <= {"a", "bad"}
    (folder / "grammar.txt").write_text("bad a\nbad\n")
    assert read("--grammar", str(folder / "grammar.txt"))[0] in ("bad a", "bad")
    (folder / "hot.txt").write_text("# names\nbad\n")
    hot = ("--beam", "50", "--hotwords", str(folder / "hot.txt"))
    assert read(*hot, "--hotword-weight=30")[0].split().count("bad") > plain[0].split().count("bad")
    assert read(*hot, "--hotword-weight=0")[0] == plain[0]
    assert read(*listed, "--unlisted=-1") not in (plain, read(*listed), read(*listed, "--unlisted=-2"))


def test_the_language_model_beside_a_model_is_used_unless_told_otherwise(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    def read(*options: str) -> tuple[str, float]:
        output = folder / "out.jsonl"
        words = ["evaluate", str(folder / "valid.jsonl"), "--model", str(folder / "tiny.safetensors")]
        assert main([*words, "--output", str(output), *options]) == 0, capsys.readouterr().err
        row = json.loads(output.read_text().splitlines()[0])
        return row["hypothesis"], row["score"]

    (folder / "words.txt").write_text("a\nbad\n")
    lexicon = ("--lexicon", str(folder / "words.txt"))
    before = [read(*options) for options in ((), ("--beam", "16"), lexicon)]
    lm = folder / "other.safetensors"
    assert main(["lm", str(folder / "text.txt"), "--output", str(lm)]) == 0
    given = read("--lm", str(lm), "--lm-weight=2")
    lm.rename(folder / "tiny.lm.safetensors")
    assert read("--lm-weight=2") == given != read() != before[0]
    assert [read("--decoder", "greedy"), read("--lm", "none", "--beam", "16"), read(*lexicon)] == before
    assert read("--language-model", "none") == before[0]
    assert main(["evaluate", str(folder / "valid.jsonl"), "--lm", "none", "--bonus", "1"]) == 2
    assert "--bonus needs a language model" in capsys.readouterr().err
    assert model_files(folder) == [folder / "tiny.safetensors"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tune"], "--lm"),
        (["--tune", "--lm", "valid.jsonl"], "not a .safetensors"),
        (["--lm", "none.arpa"], "no such file"),
        (["--lm-weight", "1"], "--lm"),
        (["--decoder", "greedy", "--lexicon", "x"], "--lexicon"),
        (["--decoder", "pyctcdecode", "--lm", "x"], "does not have --lm"),
        (["--unlisted", "-1"], "--lexicon"),
        (["--hotword-weight", "1"], "--hotwords"),
        (["--grammar", "valid.jsonl", "--lexicon", "valid.jsonl"], "not both"),
        (["--grammar", "missing.txt"], "no such file"),
        (["--output", "valid.jsonl"], "the manifest itself"),
        (["--output", "nowhere/x.tsv"], "no folder"),
        (["--by", "speker"], "speker"),
    ],
)
def test_evaluate_tells_mistakes_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options, said
):
    monkeypatch.chdir(folder)
    before = (folder / "valid.jsonl").read_text()
    assert main(["evaluate", "valid.jsonl", "--model", "tiny.safetensors", *options]) == 2
    assert said in capsys.readouterr().err
    assert (folder / "valid.jsonl").read_text() == before
