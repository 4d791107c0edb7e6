"""Confidences against what is right: maps, their fit, the expected calibration error, and the files."""

import csv
import json
import struct
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common import calibration
from carousel.common.calibration import Calibration, Map, calibration_error, fit_map, outcomes
from carousel.common.data.manifest import Sample, read_manifest, write_manifest
from carousel.common.decoding import Hypothesis, Symbol, decode
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.recogniser import recognise
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import edits, matched
from tests.common import toy
from tests.tiny import ship, tiny_model

MAPS = Calibration(Map(1.5, -0.25), Map(1.25, 0.5), Map(0.75, 0.125))
AB = Alphabet("ab")


def hypothesis(text: str, *confidences: float) -> Hypothesis:
    pairs = enumerate(zip(text, confidences, strict=True))
    return Hypothesis(tuple(Symbol(c, i, i + 1, sure) for i, (c, sure) in pairs), -1.0)


def coin(count: int, sharpness: float, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Texts of one symbol, drawn from softmax(z), with log-probabilities of softmax(sharpness · z)."""
    rng = np.random.default_rng(seed)
    found = []
    for odds in rng.normal(0, 1.5, count):
        text = "ab"[int(rng.random() > 1 / (1 + np.exp(-odds)))]
        scores = np.array([[-50.0, *(-np.logaddexp(0, [-sharpness * odds, sharpness * odds]))]])
        found.append((text, scores))
    return found


@pytest.mark.parametrize("decoder", ["greedy", "beam", "pyctcdecode"])
@pytest.mark.parametrize("sharpness", [1.0, 3.0, 0.5])
def test_the_temperature_is_how_much_sharper_the_scores_are_than_the_truth(decoder: str, sharpness: float):
    count = 6000 if decoder == "greedy" else 1500
    pairs = [(text, decode(scores, AB, decoder)[0]) for text, scores in coin(count, sharpness)]
    before = outcomes(pairs)
    found = calibration.fit(pairs)
    tolerance = 0.15 if decoder == "greedy" else 0.3
    assert found.symbols.temperature == pytest.approx(sharpness, rel=tolerance)
    assert found.symbols.shift == pytest.approx(0, abs=0.25)
    # a word and a text are this one symbol, which is calibrated already
    for level in (found.words, found.hypotheses):
        assert level.temperature == pytest.approx(1, rel=0.02) and level.shift == pytest.approx(0, abs=0.02)
    after = outcomes((text, read.calibrated(found)) for text, read in pairs)
    for level in calibration.LEVELS:
        assert len(after[level][0]) == count
        assert calibration_error(*after[level]) < 0.035
        if sharpness == 3:
            assert calibration_error(*before[level]) > 3 * calibration_error(*after[level])
        if sharpness == 1:
            assert calibration_error(*before[level]) < 0.035


def test_the_shift_is_found_too():
    rng = np.random.default_rng(1)
    sure = rng.random(40_000)
    truth = Map(1.4, -0.6)
    right = rng.random(len(sure)) < [truth(c) for c in sure]
    found = fit_map(sure, right)
    assert found.temperature == pytest.approx(1.4, rel=0.05) and found.shift == pytest.approx(-0.6, abs=0.05)


def test_the_fit_has_the_least_cross_entropy():
    from scipy.optimize import minimize

    rng = np.random.default_rng(2)
    sure = rng.beta(4, 1, 300)
    right = rng.random(300) < sure**2
    odds = np.log(sure) - np.log1p(-sure)
    positive, negative = right.sum(), (~right).sum()
    targets = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(weights: np.ndarray) -> float:
        z = weights[0] * odds + weights[1]
        return float((np.logaddexp(0, z) - targets * z).sum())

    slope, shift = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7}).x
    found = fit_map(sure, right)
    assert (1 / found.temperature, found.shift) == (
        pytest.approx(slope, abs=1e-3), pytest.approx(shift, abs=1e-3),
    )  # fmt: skip


def test_too_little_and_senseless_data_leave_confidences_as_they_are():
    sure = np.linspace(0.1, 0.9, 100)
    assert fit_map(sure, np.ones(100, bool)) == Map()
    assert fit_map(sure, np.arange(100) >= 9) == Map()  # nine wrong ones
    assert fit_map(sure, sure < 0.5) == Map()  # the surer, the wronger
    assert fit_map(np.zeros(0), np.zeros(0, bool)) == Map()
    assert calibration.fit([]) == Calibration()


def test_perfectly_separated_data_gives_numbers():
    sure = np.concatenate([np.full(50, 0.4), np.full(50, 0.6)])
    found = fit_map(sure, sure > 0.5)
    assert 0 < found.temperature < 1 and np.isfinite(found.shift)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_map_keeps_the_order_and_the_range(a: float, b: float, temperature: float, shift: float):
    mapped = Map(temperature, shift)
    low, high = sorted((a, b))
    assert 0 <= mapped(low) <= mapped(high) <= 1
    assert Map()(a) == a


def test_the_error_and_the_bins_by_hand():
    sure = np.array([0.99, 0.98, 0.5, 0.51, 1.0])
    right = np.array([True, False, True, True, True])
    bins = calibration.reliability(sure, right)
    assert [b["count"] for b in bins] == [2, 3]  # 0.5 and 0.51 are in [7/15, 8/15), the rest in the last
    assert bins[0]["right"] == 1 and bins[1]["right"] == pytest.approx(2 / 3)
    expected = (2 * abs(1 - 0.505) + 3 * abs(2 / 3 - 0.99)) / 5
    assert calibration_error(sure, right) == pytest.approx(expected)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_what_is_right_is_what_the_edits_keep():
    read = hypothesis(" ab cx ", 0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.1)
    found = outcomes([("ab cd", read), ("", hypothesis("  ", 0.5, 0.5)), ("a", hypothesis(""))])
    np.testing.assert_array_equal(found["symbols"][0], [0.9, 0.8, 0.7, 0.6, 0.5])
    np.testing.assert_array_equal(found["symbols"][1], [True, True, True, True, False])
    np.testing.assert_allclose(found["words"][0], [0.72, 0.3])
    np.testing.assert_array_equal(found["words"][1], [True, False])
    np.testing.assert_allclose(found["hypotheses"][0], [0.9 * 0.8 * 0.6 * 0.5])  # spaces have no part
    np.testing.assert_array_equal(found["hypotheses"][1], [False])


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_matched_is_of_one_piece_with_edits(reference: str, said: str):
    counts, kept = edits(reference, said), matched(reference, said)
    assert len(kept) == len(said)
    assert sum(kept) == counts.length - counts.substitutions - counts.deletions
    rest = iter(reference)  # what is kept stands in the reference, in this order
    assert all(c in rest for c, k in zip(said, kept, strict=True) if k)


def test_the_levels_are_made_of_each_other():
    read = hypothesis("ab a", 0.9, 0.8, 0.7, 0.6)
    assert [w.confidence for w in read.words()] == pytest.approx([0.72, 0.6])
    assert read.confidence == pytest.approx(0.9 * 0.8 * 0.6) and hypothesis(" ", 0.9).confidence is None
    sure = read.calibrated(MAPS)
    assert (sure.text, sure.score) == (read.text, read.score)
    symbols = [MAPS.symbols(c) for c in (0.9, 0.8, 0.7, 0.6)]
    assert [s.confidence for s in sure.symbols] == pytest.approx(symbols)
    assert sure.words()[0].confidence == pytest.approx(MAPS.words(symbols[0] * symbols[1]))
    assert sure.confidence == pytest.approx(MAPS.hypotheses(symbols[0] * symbols[1] * symbols[3]))
    heard = Hypothesis(tuple(Symbol(s.text, 0, 1, s.confidence) for s in sure.symbols), -1.0, MAPS)
    assert heard.confidence == sure.confidence
    assert [w.confidence for w in heard.words()] == [w.confidence for w in sure.words()]


# In model files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "m.safetensors", "speech", licence="none")


def data(path: Path) -> bytes:
    """What follows the header of a safetensors file."""
    whole = path.read_bytes()
    return whole[8 + struct.unpack("<Q", whole[:8])[0] :]


def test_a_file_keeps_it_and_the_weights_as_they_are(path: Path):
    old = model_file.load(path)
    assert old.calibration == Calibration()  # a file without one
    before = data(path)
    for _ in range(2):  # twice, as its own result must be good enough for it
        model_file.note(path, confidence=MAPS.as_json())
        assert data(path) == before
    new = model_file.load(path)
    assert new.calibration == MAPS and new.card == old.card | {"confidence": MAPS.as_json()}
    assert not path.with_name("m.safetensors.partial").exists()


@pytest.mark.parametrize("decoder", ["greedy", "beam", "pyctcdecode"])
def test_confidences_change_and_texts_do_not(path: Path, decoder: str):
    arrays = [np.random.default_rng(seed).normal(size=(40, 20)).astype(np.float32) for seed in range(3)]
    wide = {} if decoder == "greedy" else {"nbest": 3}
    plain = recognise(model_file.load(path), arrays, decoder=decoder, **wide)
    model_file.note(path, confidence=MAPS.as_json())
    model = model_file.load(path)
    sure = recognise(model, arrays, decoder=decoder, **wide)
    assert sure == [[read.calibrated(MAPS) for read in nbest] for nbest in plain]
    for ours, theirs in zip(chain(*sure), chain(*plain), strict=True):
        assert ours.text == theirs.text and ours.score == theirs.score
        assert ours.confidence != theirs.confidence


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        {},
        {**MAPS.as_json(), "pages": {"temperature": 1.0, "shift": 0.0}},
        {**MAPS.as_json(), "words": {"temperature": 0.0, "shift": 0.0}},
        {**MAPS.as_json(), "words": {"temperature": 1.0}},
        {**MAPS.as_json(), "words": {"temperature": "1", "shift": 0.0}},
        {**MAPS.as_json(), "words": {"temperature": True, "shift": 0.0}},
        {**MAPS.as_json(), "words": {"temperature": 1.0, "shift": float("inf")}},
    ],
)
def test_a_damaged_one_is_named(path: Path, damaged: object):
    model_file.note(path, confidence=damaged)
    with pytest.raises(InputError, match=r"m\.safetensors: its description is damaged"):
        model_file.load(path)


def test_training_fits_one_on_the_valid_set_with_the_weights_that_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calibration, "LEAST", 1)
    settings = toy.settings(tmp_path, epochs=4, half=False)
    best = toy.train(settings, toy.read, toy.size, tmp_path / "run")
    kept = model_file.load(best).calibration
    model_file.note(best, confidence=None)
    samples = list(read_manifest(tmp_path / "valid.jsonl"))
    read = recognise(model_file.load(best), [toy.read(s, {}) for s in samples])
    expected = calibration.fit((s.text, nbest[0]) for s, nbest in zip(samples, read, strict=True))
    assert expected.words != Map()  # it errs in some, which is what can be fitted
    for level, numbers in kept.as_json().items():
        assert numbers == pytest.approx(expected.as_json()[level], rel=1e-3, abs=1e-3)


# The command


def half_right(path: Path, folder: Path) -> Path:
    """A manifest of noise, whose texts are what the model reads, the less the less sure it is."""
    import soundfile

    from carousel.asr.reader import read

    model, rng, rows = model_file.load(path), np.random.default_rng(5), []
    for number in range(30):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 16000), 16000)
        sample = Sample(text="", audio=folder / f"{number}.wav")
        symbols = recognise(model, [read(sample, model.features)])[0][0].symbols
        kept = (s.text if rng.random() < s.confidence**2 else "x" for s in symbols)
        rows.append({"audio": folder / f"{number}.wav", "text": "".join(kept)})
    write_manifest(folder / "valid.jsonl", rows)
    return folder / "valid.jsonl"


def test_evaluate_calibrates_the_file_and_reports(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture, run_asr: Callable[..., int]
):
    manifest = half_right(path, tmp_path)
    hypotheses = [tmp_path / f"{name}.tsv" for name in ("before", "after")]
    assert run_asr(manifest, "--model", path, "--json", "--output", hypotheses[0]) == 0
    before = json.loads(capsys.readouterr().out)["calibration"]
    picture = tmp_path / "r.png"
    more = ("--calibrate", "--reliability", picture, "--output", hypotheses[1])
    assert run_asr(manifest, "--model", path, "--json", *more) == 0
    out, err = capsys.readouterr()
    after = json.loads(out)["calibration"]
    assert set(after) == {"symbols", "words", "hypotheses"}
    assert after["symbols"]["ece"] < before["symbols"]["ece"]
    assert after["symbols"]["count"] == before["symbols"]["count"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG") and f"kept in {path}" in err
    texts = [[row["hypothesis"] for row in csv.DictReader(open(p), delimiter="\t")] for p in hypotheses]
    assert texts[0] == texts[1]
    kept = model_file.load(path).calibration
    assert kept.symbols != Map()
    # again: what is fitted does not depend on what was there
    assert run_asr(manifest, "--model", path, "--calibrate") == 0
    assert model_file.load(path).calibration == kept


@pytest.mark.parametrize("count", [6, 19])
def test_few_samples_change_no_calibration(
    path: Path, tmp_path: Path, count: int, capsys: pytest.CaptureFixture, run_asr: Callable[..., int]
):
    manifest = half_right(path, tmp_path)
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:count]))
    for own in (None, MAPS.as_json()):
        model_file.note(path, confidence=own)
        before = path.read_bytes()
        assert run_asr(manifest, "--model", path, "--calibrate", "--json") == 0
        out, err = capsys.readouterr()
        assert f"left as they were: {count} samples are too few" in err and "kept in" not in err
        assert path.read_bytes() == before
        assert run_asr(manifest, "--model", path, "--json") == 0
        assert json.loads(capsys.readouterr().out)["calibration"] == json.loads(out)["calibration"]


def test_a_fit_that_is_no_better_elsewhere_is_not_kept(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture, run_asr: Callable[..., int]
):
    """The file's own maps are those of the same samples, so no part of them can tell any better ones."""
    manifest = half_right(path, tmp_path)
    assert run_asr(manifest, "--model", path, "--calibrate") == 0
    assert "kept in" in capsys.readouterr().err
    before = path.read_bytes()
    assert run_asr(manifest, "--model", path, "--calibrate") == 0
    err = capsys.readouterr().err
    assert "a fit is no better" in err and "kept in" not in err and path.read_bytes() == before


@pytest.mark.parametrize(("sharpness", "better"), [(3.0, True), (1.0, False)])
def test_the_gain_is_of_texts_that_had_no_part_in_the_fit(sharpness: float, better: bool):
    pairs = [(text, decode(scores, AB)[0]) for text, scores in coin(200, sharpness)]
    gain, error = calibration.gain(pairs, Calibration())
    assert (gain > error) == better
    own = calibration.fit(pairs)
    whole = calibration.gain(pairs, own)[0]
    assert whole < error  # against maps that have seen all of them


def test_an_onnx_file_keeps_no_calibration_and_says_so_first(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture, run_asr: Callable[..., int]
):
    pytest.importorskip("onnxruntime")
    from carousel.common.model.onnx_export import export

    export(model_file.load(path), tmp_path / "m.onnx")
    manifest = half_right(path, tmp_path)
    assert run_asr(manifest, "--model", tmp_path / "m.onnx", "--calibrate") == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "calibrate the model that it came from" in err


def test_the_model_that_ships_is_calibrated_only_if_it_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    run_asr: Callable[..., int],
):
    shipped = tiny_model(tmp_path / "models" / "own.safetensors", "speech", default=True)
    ship(monkeypatch, "asr", models=shipped.parent)
    manifest, before = half_right(shipped, tmp_path), shipped.read_bytes()
    assert run_asr(manifest, "--calibrate") == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "name yours with --model" in err
    assert shipped.read_bytes() == before
    assert run_asr(manifest, "--calibrate", "--model", "own") == 0
    assert f"kept in {shipped}" in capsys.readouterr().err and shipped.read_bytes() != before


def test_pictures_that_cannot_be_written_are_told_first(
    path: Path, tmp_path: Path, run_asr: Callable[..., int]
):
    manifest = tmp_path / "none.jsonl"
    for name in ("r.pdf", "no/where.png"):
        assert run_asr(manifest, "--model", path, "--reliability", tmp_path / name) == 2


@pytest.fixture
def run_asr() -> Callable[..., int]:
    from carousel.asr.cli import main

    return lambda *arguments: main(["evaluate", *map(str, arguments)])
