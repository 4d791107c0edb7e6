"""Training of LSTM language models on a language of a few lines."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from carousel.common.data.manifest import write_manifest
from carousel.common.errors import InputError
from carousel.common.language.lstm import load
from carousel.common.text.alphabet import Alphabet
from carousel.common.train import language as language_training
from carousel.common.train.language import rows_of, sessions, stream, train
from carousel.common.train.settings import check_language
from tests.common.train.test_settings import composed

# Each line says which one follows, so who remembers the line before knows all of the next.
LINES = ["one two", "red blue", "sun moon"]


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """The settings of a small training of LINES, over and over; valid begins elsewhere."""
    (folder / "train.txt").write_text("".join(line + "\n" for line in LINES * 150))
    (folder / "valid.txt").write_text("".join(line + "\n" for line in (LINES[1:] + LINES[:1]) * 12))
    given = {
        "data.train": str(folder / "train.txt"), "data.valid": str(folder / "valid.txt"),
        "network.hidden": 24, "network.embedding": 8, "network.dropout": 0.1, "optimizer.rate": 0.02,
        "trainer.steps": 120, "trainer.validate_every": 40, "trainer.rows": 8, "trainer.window": 40,
        "trainer.precision": "32-true", **changes,
    }  # fmt: skip
    config = composed("language", *(f"{key}={json.dumps(value)}" for key, value in given.items()))
    check_language(config)
    return config


def same_tensors(a: Path, b: Path) -> bool:
    left, right = load_file(a), load_file(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    assert train(settings(folder), None, folder / "run") == folder / "run" / "best.safetensors"
    return folder / "run"


def test_a_small_model_learns_a_small_language(trained: Path):
    rows = list(csv.DictReader(open(trained / "metrics.csv")))
    assert [row["step"] for row in rows] == ["40", "80", "120"]
    assert 1 < float(rows[-1]["valid_perplexity"]) < min(1.1, float(rows[0]["valid_perplexity"]))
    model = load(trained / "best.safetensors")
    assert model.card["valid"]["perplexity"] == pytest.approx(float(rows[-1]["valid_perplexity"]), abs=1e-4)
    right, wrong = model.score(["red blue", "red bule"])[0]
    assert right > wrong + 3
    assert {"best.safetensors", "last.safetensors", "config.yaml", "metrics.csv"} == {
        path.name for path in trained.iterdir()
    }


def test_a_line_is_likelier_after_the_one_that_it_follows(trained: Path):
    model = load(trained / "best.safetensors")
    state = None
    for line in LINES[:2] + LINES:
        _, state = model.score([line], state)
    following, others = model.score(
        ["one two", "red blue"], [(h.repeat(2, 1), c.repeat(2, 1)) for h, c in state]
    )[0]
    assert following > others + 3
    session = [LINES * 4]
    assert model.perplexity(session)[0] < 0.9 * model.perplexity(session, carry=False)[0]


def break_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    step = language_training._Training._step
    calls = 0

    def broken(self: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(language_training._Training, "_step", broken)


def test_a_training_that_was_broken_off_goes_on_exactly(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = settings(tmp_path)
    break_off(monkeypatch, 97)
    with pytest.raises(KeyboardInterrupt):
        train(config, None, tmp_path / "run")
    monkeypatch.undo()
    with safe_open(tmp_path / "run" / "last.safetensors", "pt") as file:
        assert json.loads(file.metadata()["carousel-training"])["state"]["step"] == 80
    train(config | {"resume": True}, None, tmp_path / "run")
    for name in ("best.safetensors", "last.safetensors"):
        assert same_tensors(trained / name, tmp_path / "run" / name)
    untimed = [
        [
            {k: v for k, v in row.items() if k != "minutes"}
            for row in csv.DictReader(open(run / "metrics.csv"))
        ]
        for run in (trained, tmp_path / "run")
    ]
    assert untimed[0] == untimed[1]


def test_runs_are_not_written_over_nor_resumed_with_other_texts_or_networks(trained: Path, tmp_path: Path):
    with pytest.raises(InputError, match="already holds a run"):
        train(settings(trained.parent), None, trained)
    with pytest.raises(InputError, match="another network"):
        train(settings(trained.parent, **{"network.hidden": 8}) | {"resume": True}, None, trained)
    with pytest.raises(InputError, match="was trained on other texts"):
        train(settings(trained.parent, vocabulary=5) | {"resume": True}, None, trained)
    with pytest.raises(InputError, match="no checkpoint"):
        train(settings(tmp_path) | {"resume": True}, None, tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "steps"),
    [({"trainer.patience": 1, "optimizer.rate": 1e-12}, 20), ({"trainer.minutes": 1e-6}, 10), ({}, 30)],
)
def test_what_ends_a_training(tmp_path: Path, changes: dict, steps: int):
    few = {"trainer.steps": 30, "trainer.validate_every": 10}
    train(settings(tmp_path, **few, **changes), None, tmp_path / "run")
    assert int(list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))[-1]["step"]) == steps


def test_another_model_can_be_the_start_with_other_tokens(trained: Path, tmp_path: Path):
    config = settings(
        tmp_path, **{"trainer.steps": 1, "optimizer.rate": 1e-12, "init": str(trained / "best.safetensors")}
    )
    (tmp_path / "train.txt").write_text("zebra\n" * 9 + "".join(line + "\n" for line in LINES * 20))
    train(config, None, tmp_path / "run")
    again = load(tmp_path / "run" / "best.safetensors")
    assert again.tokens != load(trained / "best.safetensors").tokens
    assert again.card["valid"]["perplexity"] < 1.6  # without a step of training


def test_texts_are_taken_as_the_recogniser_writes_them(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    config = settings(tmp_path, **{"trainer.steps": 1})
    train(config, Alphabet("ABDELNOSRTUW "), tmp_path / "run")
    tokens = load(tmp_path / "run" / "best.safetensors").tokens
    assert set(tokens[2:]) == set("BDELNOSRTUW ")  # no M, and A is in no text
    assert "'M'" in caplog.text


def test_words_beyond_the_vocabulary_are_folded(tmp_path: Path):
    config = settings(tmp_path, **{"unit": "words", "vocabulary": 4, "trainer.steps": 2})
    train(config, None, tmp_path / "run")
    model = load(tmp_path / "run" / "best.safetensors")
    assert (len(model.tokens), model.folded, model.unit) == (6, 2, "words")
    with open(tmp_path / "run" / "metrics.csv") as file:
        row = list(csv.DictReader(file))[-1]
    mine = model.perplexity(sessions(config["data"]["valid"], str.strip))[0]
    assert float(row["valid_perplexity"]) == pytest.approx(
        mine, rel=0.05
    )  # rows part the text in other places


def test_a_text_is_cut_into_rows_that_hold_all_of_it(trained: Path):
    model = load(trained / "best.safetensors")
    tokens = stream(model, LINES * 60)
    assert tokens.tolist()[: len(LINES[0]) + 2] == [model.mark, *model.numbers(LINES[0]), model.mark]
    rows = rows_of(tokens, 7)
    assert rows.shape[0] == 7
    joined = [*rows[0].tolist(), *(token for row in rows[1:] for token in row.tolist()[1:])]
    assert joined == tokens.tolist()[: len(joined)] and len(tokens) - len(joined) < 7
    assert rows_of(stream(model, LINES), 7).shape == (1, len(stream(model, LINES)))
    with pytest.raises(InputError, match="empty"):
        rows_of(tokens[:1], 3)


def test_sessions_are_runs_of_a_speaker(tmp_path: Path):
    rows = [("x", "b"), ("x", "a"), ("y", "c"), ("x", "d")]
    write_manifest(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": t, "speaker": s} for s, t in rows])
    (tmp_path / "t.txt").write_text("e\n\nf\n")
    found = list(sessions([str(tmp_path / "m.jsonl"), str(tmp_path / "t.txt")], str.strip))
    assert found == [["b", "a"], ["c"], ["d"], ["e", "f"]]
    (tmp_path / "t.txt").write_text("g\n" * 250)
    assert [len(session) for session in sessions(str(tmp_path / "t.txt"), str.strip)] == [100, 100, 50]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.steps=0", "trainer.steps must be at least 1, not 0"),
        ("trainer.reset=2", "trainer.reset must be at least 0 and at most 1, not 2"),
        ("+trainer.epochs=3", "trainer has no epochs, which would do nothing"),
        ("network.hidden=x", "network.hidden must be a whole number, at least 1, not x"),
        ("+network.front=stack", "network has no front"),
        ("unit=letters", "characters or words"),
        ("+features=mfcc", "the configuration has no features"),
        ("optimizer.schedule=foo", "optimizer.schedule must be constant, linear"),
        ("data.valid=null", "data.valid"),
        ("fit=3", "fit must be a text, or null, not 3"),
    ],
)
def test_settings_that_cannot_be_used_are_told(override: str, said: str):
    with pytest.raises(InputError, match=said.replace("+", r"\+")):
        check_language(composed("language", "data.train=a", "data.valid=b", override))


def test_running_words_are_refused():
    with pytest.raises(InputError, match="running=true goes with unit=characters"):
        check_language(composed("language", "data.train=a", "data.valid=b", "unit=words", "running=true"))


def test_the_loss_of_a_window_is_the_mean_of_its_tokens(trained: Path, tmp_path: Path):
    """Where nothing is learnt, the training's own count of bits is the model's."""
    config = settings(tmp_path, **{"trainer.steps": 1, "optimizer.rate": 1e-12, "network.dropout": 0.0})
    config["init"] = str(trained / "best.safetensors")
    train(config, None, tmp_path / "run")
    row = next(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    model = load(trained / "best.safetensors")
    perplexity, _ = model.perplexity([LINES * 12])
    assert math.exp(float(row["train_loss"])) == pytest.approx(perplexity, rel=0.25)


def test_the_tokens_of_the_model_that_a_training_starts_from_stay(trained: Path, tmp_path: Path):
    config = settings(
        tmp_path, **{"trainer.steps": 1, "optimizer.rate": 1e-12, "init": str(trained / "best.safetensors")}
    )
    (tmp_path / "train.txt").write_text("red zebra\n" * 50)
    train(config, None, tmp_path / "run")
    before, after = load(trained / "best.safetensors"), load(tmp_path / "run" / "best.safetensors")
    assert set(after.tokens) == {*before.tokens, *"red zebra"}
    row, old = after.index["m"], before.index["m"]  # of no text that it saw
    heads = (model.network.head.weight for model in (after, before))
    assert torch.allclose(*(head[n] for head, n in zip(heads, (row, old), strict=True)), atol=1e-2)
    longer = config | {"resume": True, "init": str(tmp_path / "gone.safetensors")}
    longer["trainer"] = longer["trainer"] | {"steps": 2}
    train(longer, None, tmp_path / "run")  # the model of init is needed no more
    assert load(tmp_path / "run" / "best.safetensors").tokens == after.tokens


def test_a_model_of_another_network_or_unit_is_no_start(trained: Path, tmp_path: Path):
    init = {"init": str(trained / "best.safetensors")}
    with pytest.raises(InputError, match=r"only \d of \d+ tensors fit"):
        train(
            settings(tmp_path, **init, **{"network.hidden": 7, "network.embedding": 5}), None, tmp_path / "a"
        )
    with pytest.raises(InputError, match="is over characters"):
        train(settings(tmp_path, **init, unit="words"), None, tmp_path / "b")


def test_a_best_model_that_is_lost_is_made_anew(trained: Path, tmp_path: Path):
    for name in ("last.safetensors", "config.yaml"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    config = settings(trained.parent)
    for damage in (None, b"damaged"):
        if damage:
            (tmp_path / "best.safetensors").write_bytes(damage)
        best = train(config | {"resume": True}, None, tmp_path)
        assert same_tensors(best, trained / "best.safetensors")
        assert load(best).card["valid"] == load(trained / "best.safetensors").card["valid"]
    (tmp_path / "last.safetensors").unlink()
    for resume, said in ((True, "no checkpoint to resume from"), (False, "already holds a run")):
        with pytest.raises(InputError, match=rf"{said}.*init={tmp_path}"):
            train(config | {"resume": resume}, None, tmp_path)


def test_texts_are_fitted_on_resume_as_they_were(tmp_path: Path):
    config = settings(tmp_path, **{"trainer.steps": 1})
    train(config, Alphabet("ABDELNOSRTUW "), tmp_path / "run")
    longer = config | {"resume": True, "trainer": config["trainer"] | {"steps": 2}}
    train(longer, None, tmp_path / "run")
    assert set(load(tmp_path / "run" / "best.safetensors").tokens[2:]) == set("BDELNOSRTUW ")
