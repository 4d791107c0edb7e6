"""The second pass: choices and states against a loop by hand, and what the commands do with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carousel.common.cli.inputs import Input, session
from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.decoding.rescoring import Rescorer, text_of, tune
from carousel.common.language.lstm import LanguageModel, load
from carousel.common.model import file as model_file
from carousel.common.recogniser import recognise
from carousel.hwr import cli
from carousel.hwr.reader import read
from tests.common.language.test_lstm import model
from tests.tiny import tiny_model


def hypothesis(text: str, score: float) -> Hypothesis:
    return Hypothesis(tuple(Symbol(c, i, i + 1, 0.5) for i, c in enumerate(text)), score)


def nbest(rng: np.random.Generator, count: int = 5) -> list[Hypothesis]:
    texts = ["".join(rng.choice(list(" abc"), rng.integers(0, 9))) for _ in range(count)]
    return [
        hypothesis(text, score) for text, score in zip(texts, -np.sort(rng.uniform(0, 9, count)), strict=True)
    ]


def by_hand(
    lm: LanguageModel, nbests: list[list[Hypothesis]], sessions: list, weight: float, bonus: float
) -> list[tuple[str, float]]:
    """The best text and score of each list, one hypothesis after the other."""
    states: dict = {}
    chosen = []
    for hypotheses, whose in zip(nbests, sessions, strict=True):
        best: tuple | None = None
        for h in hypotheses:
            text = " ".join(h.text.split())
            scores, state = lm.score([text], states.get(whose))
            total = h.score + weight * scores[0] + bonus * len(text)
            if best is None or total > best[1] + 1e-9:
                best = (h.text, total, state)
        assert best is not None
        if whose is not None:
            states[whose] = best[2]
        chosen.append(best[:2])
    return chosen


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.4, 3.0])
def test_the_choice_is_that_of_a_loop_by_hand(running: bool, weight: float):
    rng = np.random.default_rng(4)
    lm = model(running=running)
    nbests = [nbest(rng) for _ in range(12)]
    sessions = ["x", "y", None, "x", "x", "y", None, "z", "y", "x", "z", "y"]
    expected = by_hand(lm, nbests, sessions, weight, 0.3)
    rescorer = Rescorer(lm, weight, 0.3)
    found = rescorer.choose(nbests[:5], sessions[:5]) + rescorer.choose(nbests[5:], sessions[5:])
    for (text, score), hypotheses, given in zip(expected, found, nbests, strict=True):
        assert hypotheses[0].text == text and hypotheses[0].score == pytest.approx(score, abs=1e-3)
        assert sorted(h.text for h in hypotheses) == sorted(h.text for h in given)
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_what_was_chosen_before_tells_in_a_session_only():
    lm = model()
    lists = [[hypothesis("abc abc", 0.0)], [hypothesis("cab", 0.0)]]
    carried = Rescorer(lm, 1.0).choose(lists, ["x", "x"])[1][0].score
    apart = Rescorer(lm, 1.0).choose(lists, ["x", "y"])[1][0].score
    alone = Rescorer(lm, 1.0).choose(lists)[1][0].score
    assert apart == pytest.approx(alone, abs=1e-4) and carried != pytest.approx(alone, abs=1e-2)


def test_a_call_that_fails_has_remembered_nothing(monkeypatch: pytest.MonkeyPatch):
    rescorer = Rescorer(model(), 1.0)
    rescorer.choose([[hypothesis("a", 0.0)]], ["x"])
    before = rescorer.states
    score = LanguageModel.score
    calls = 0

    def short_of_memory(self: LanguageModel, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError
        return score(self, *arguments)

    monkeypatch.setattr(LanguageModel, "score", short_of_memory)
    with pytest.raises(MemoryError):
        rescorer.choose([[hypothesis("b", 0.0)], [hypothesis("c", 0.0)]], ["x", "x"])
    assert rescorer.states is before and list(before) == ["x"]


def test_tuning_finds_and_keeps_what_makes_fewest_errors(tmp_path: Path):
    lm = model()
    path = tmp_path / "lm.safetensors"
    lm.save(path)
    lm = load(path)
    rng = np.random.default_rng(2)
    nbests = [nbest(rng) for _ in range(30)]
    # right is what the model holds likeliest of each list, against the first pass
    right = [text for text, _ in by_hand(lm, nbests, [None] * 30, 50.0, 0.0)]
    said: list[str] = []
    tuned = tune(Rescorer(lm), path, nbests, right, [None] * 30, said.append)
    assert tuned.weight > 0 and load(path).advice == {"weight": tuned.weight, "bonus": tuned.bonus}

    def wrong(rescorer: Rescorer) -> int:
        chosen = rescorer.choose(nbests)
        return sum(h[0].text.strip() != text.strip() for h, text in zip(chosen, right, strict=True))

    assert wrong(tuned) < wrong(Rescorer(lm, 0.0, 0.0))
    assert all("CER" in line for line in said[:-1])


# -- the commands


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recogniser, a language model, and strokes by two writers in a manifest and in files."""
    folder = tmp_path_factory.mktemp("drawn")
    tiny_model(folder / "ink.safetensors", "ink", symbols=" abc")
    lm = model()
    with torch.no_grad():
        lm.network.head.weight.mul_(3)  # so that it has its way here and there
    lm.save(folder / "lm.safetensors")
    rng = np.random.default_rng(5)
    rows = []
    (folder / "page").mkdir()
    for number in range(8):
        strokes = [rng.integers(0, 60, (9, 2)).cumsum(0) for _ in range(2)]
        rows.append({"strokes": strokes, "text": "abc", "writer": "ab"[number % 3 > 0], "page": "one"})
        flat = [stroke.reshape(-1).tolist() for stroke in strokes]
        (folder / "page" / f"{number}.json").write_text(json.dumps({"strokes": flat}))
    write_manifest(folder / "test.jsonl", rows)
    return folder


def lists(folder: Path, beam: int = 16) -> list[list[Hypothesis]]:
    ink = model_file.load(folder / "ink.safetensors")
    arrays = [read(sample, ink.features) for sample in read_manifest(folder / "test.jsonl")]
    return recognise(ink, arrays, decoder="beam", beam=beam, nbest=beam)


def texts(folder: Path, sessions: list, weight: float = 0.5, bonus: float = 0.0, beam: int = 16) -> list[str]:
    lm = load(folder / "lm.safetensors")
    return [text.strip() for text, _ in by_hand(lm, lists(folder, beam), sessions, weight, bonus)]


@pytest.mark.parametrize(
    ("options", "session", "how"),
    [
        ((), "writer", {}),
        (("--session", "none"), None, {}),
        (("--session", "page"), "page", {}),
        (("--rescore-weight", "2"), "writer", {"weight": 2.0}),
        (("--rescore-bonus", "-2"), "writer", {"bonus": -2.0}),
        (("--beam", "40"), "writer", {"beam": 40}),
    ],
)
def test_evaluate_chooses_as_by_hand(
    drawn: Path, tmp_path: Path, options: tuple, session: str | None, how: dict
):
    samples = list(read_manifest(drawn / "test.jsonl"))
    keys: dict = {"writer": [s.group for s in samples], "page": ["one"] * 8, None: [None] * 8}
    words = ["evaluate", str(drawn / "test.jsonl"), "--model", str(drawn / "ink.safetensors")]
    output = tmp_path / "hypotheses.jsonl"
    assert (
        cli.main([*words, "--rescore", str(drawn / "lm.safetensors"), "--output", str(output), *options]) == 0
    )
    found = [json.loads(line)["hypothesis"] for line in output.read_text().splitlines()]
    assert found == texts(drawn, keys[session], **how)
    assert found != [nbest[0].text.strip() for nbest in lists(drawn)]  # it did choose otherwise


@pytest.mark.parametrize(("options", "session"), [((), "folder"), (("--session", "none"), None)])
def test_recognise_goes_on_over_the_files_of_a_folder(
    drawn: Path, capsys: pytest.CaptureFixture, options: tuple, session: str | None
):
    words = ["recognise", str(drawn / "page"), "--model", str(drawn / "ink.safetensors"), "--format", "json"]
    assert cli.main([*words, "--nbest", "3", "--rescore", str(drawn / "lm.safetensors"), *options]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in found] == texts(drawn, [session] * 8)
    assert all(len(row["nbest"]) <= 3 for row in found)


def test_the_carried_state_changes_what_is_chosen_here(drawn: Path):
    assert texts(drawn, ["x"] * 8, 2.0) != texts(drawn, [None] * 8, 2.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--decoder", "greedy", "--rescore", "LM"],
            "--decoder greedy does not search; leave out --rescore",
        ),
        (["--rescore-weight", "1"], "--rescore-weight needs a second pass"),
        (["--rescore-bonus", "1"], "--rescore-bonus needs a second pass"),
        (["--session", "none"], "--session needs a second pass"),
        (["--rescore", "gone.safetensors"], "gone.safetensors: there is no such file"),
        (["--rescore", "LM", "--session", "colour"], "--session colour: no sample has this key"),
        (["--tune"], "give one with --lm or --rescore"),
    ],
)
def test_options_that_contradict_are_told(
    drawn: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
):
    given = [str(drawn / "lm.safetensors") if word == "LM" else word for word in options]
    words = ["evaluate", str(drawn / "test.jsonl"), "--model", str(drawn / "ink.safetensors")]
    assert cli.main([*words, *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rescore", "INK"], "is a recogniser, not a language model"),
        (["--lm", "LM"], "hwr: LM: is of LSTM layers, which choose afterwards; give it with --rescore"),
        (["--lm", "INK"], "hwr: INK: is not a language model"),
    ],
)
def test_what_cannot_be_used_is_told(
    drawn: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
):
    files = {"LM": str(drawn / "lm.safetensors"), "INK": str(drawn / "ink.safetensors")}
    words = ["evaluate", str(drawn / "test.jsonl"), "--model", str(drawn / "ink.safetensors")]
    assert cli.main([*words, *(files.get(word, word) for word in options)]) == 1
    for name, path in files.items():
        said = said.replace(f"{name}:", f"{path}:")
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--rescore", "x", "--rescore-weight", "-1"],
        ["--rescore", "x", "--rescore-bonus", "nan"],
        ["--lm", "x", "--lm-weight", "-0.1"],
        ["--lm", "x", "--bonus", "inf"],
        ["--lm", "x", "--unknown", "1"],
        ["--lexicon", "x", "--unlisted", "3"],
        ["--hotwords", "x", "--hotword-weight", "much"],
    ],
)
def test_numbers_out_of_range_are_wrong_usage_of_their_option(
    capsys: pytest.CaptureFixture, options: list[str]
):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["recognise", "x.png", *options])
    assert stopped.value.code == 2
    assert f"argument {options[2]}: {options[3]!r} is not a number" in capsys.readouterr().err


def test_a_run_folder_is_as_good_as_the_model_in_it(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["evaluate", str(drawn / "test.jsonl"), "--model", str(drawn / "ink.safetensors"), "--json"]
    assert cli.main([*words, "--rescore", str(tmp_path)]) == 2  # nothing in it
    assert "best.safetensors: there is no such file" in capsys.readouterr().err
    (tmp_path / "best.safetensors").write_bytes((drawn / "lm.safetensors").read_bytes())
    assert cli.main([*words, "--rescore", str(drawn / "lm.safetensors")]) == 0
    rates = json.loads(capsys.readouterr().out)
    assert cli.main([*words, "--rescore", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["cer"] == rates["cer"]
    assert cli.main([*words, "--lm", str(tmp_path)]) == 2
    assert f"--lm {tmp_path}: this is a folder" in capsys.readouterr().err


def test_evaluate_tunes_the_second_pass_and_keeps_it(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    lm = tmp_path / "lm.safetensors"
    lm.write_bytes((drawn / "lm.safetensors").read_bytes())
    words = ["evaluate", str(drawn / "test.jsonl"), "--model", str(drawn / "ink.safetensors"), "--json"]
    assert cli.main([*words, "--rescore", str(lm), "--tune"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert set(load(lm).advice) == {"weight", "bonus"}
    assert cli.main([*words, "--rescore", str(lm)]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["cer"] == tuned["cer"]  # what was kept is what is taken next time
    assert cli.main([*words, "--beam", "16"]) == 0
    assert again["cer"] <= json.loads(capsys.readouterr().out)["cer"]


def test_sessions_of_inputs():
    inside = Input("a/b.wav", Path("a/b.wav"), "b")
    assert [session(inside, kind) for kind in (None, "folder", "file", "none")] == [
        "a",
        "a",
        "a/b.wav",
        None,
    ]
    stdin = Input("standard input", None, "stdin")
    assert session(stdin, None) == "standard input" and session(stdin, "none") is None


def test_a_text_is_shown_with_single_spaces():
    assert text_of(hypothesis("  a  b ", 0.0)) == "a b"


@pytest.mark.parametrize("how", ["folder", "file", "none"])
def test_transcribe_goes_on_over_windows_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
):
    import soundfile

    from carousel.asr import recording
    from carousel.asr.cli import main
    from carousel.asr.sound.read import read_audio

    for name in ("WHOLE", "SHORTEST", "LONGEST", "TAIL"):  # windows of a second
        monkeypatch.setattr(recording, name, getattr(recording, name) / 30)
    monkeypatch.setattr(recording, "WHOLE", 1.0)
    speech, lm = tiny_model(tmp_path / "speech.safetensors", "speech", symbols=" abc"), model()
    lm.save(tmp_path / "lm.safetensors")
    rng = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    for number, seconds in enumerate((2.5, 0.5, 3.1)):
        soundfile.write(tmp_path / "in" / f"{number}.wav", rng.normal(0, 0.1, int(16000 * seconds)), 16000)
    recogniser = model_file.load(speech)
    nbests, sessions = [], []
    for number in range(3):
        wave = read_audio(tmp_path / "in" / f"{number}.wav", 16000)
        windows = recording.prepare(wave, recogniser.features).windows
        nbests += recognise(recogniser, windows, decoder="beam", beam=16, nbest=16)
        sessions += [{"folder": "in", "file": number, "none": None}[how]] * len(windows)
    assert len(sessions) > 5
    chosen = by_hand(load(tmp_path / "lm.safetensors"), nbests, sessions, 0.5, 0.0)
    expected = [
        " ".join(" ".join(text for (text, _), s in zip(chosen, counts, strict=True) if s == number).split())
        for counts in [[n for n, size in enumerate(_sizes(tmp_path, recogniser)) for _ in range(size)]]
        for number in range(3)
    ]
    words = ["transcribe", str(tmp_path / "in"), "--model", str(speech), "--session", how]
    words += ["--precision", "fp32"]  # that of `recogniser`
    assert main([*words, "--rescore", str(tmp_path / "lm.safetensors")]) == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == expected


def _sizes(folder: Path, recogniser: Any) -> list[int]:
    """Windows of each recording."""
    from carousel.asr.recording import prepare
    from carousel.asr.sound.read import read_audio

    files = sorted((folder / "in").iterdir())
    return [len(prepare(read_audio(file, 16000), recogniser.features).windows) for file in files]
