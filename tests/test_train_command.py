"""`asr train` from the command line, on recordings made here: letters as tones."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from carousel.asr.cli import main
from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.common.model import file as model_file
from carousel.common.report.page import read_rows
from tests.forked import asr

TONES = {"a": 400, "b": 900, "c": 1800}

RECIPE = """
defaults:
  - base
  - _self_
domain: speech
data: {train: tones/train.jsonl, valid: tones/valid.jsonl}
network: {hidden: 24, layers: 1, dropout: 0.0}
optimizer: {rate: 0.01}
trainer: {epochs: 40, patience: null, max_items: 8, threads: 1, ema: 0.8, validate_every: 10}
"""


def say(text: str, rng: np.random.Generator) -> np.ndarray:
    """(samples,) at 8 kHz: a tone a letter, with pauses."""
    pieces = [np.zeros(400)]
    for letter in text:
        time = np.arange(int(rng.integers(800, 1200))) / 8000
        pieces += [0.3 * np.sin(2 * np.pi * TONES[letter] * time), np.zeros(500)]
    return np.concatenate(pieces) + rng.normal(0, 0.002, sum(map(len, pieces)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    rng = np.random.default_rng(0)
    (folder / "tones").mkdir()
    for split, count in (("train", 80), ("valid", 30)):
        rows = []
        for k in range(count):
            text = "".join(rng.choice(list(TONES), rng.integers(1, 5)))
            path = folder / "tones" / f"{split}{k}.wav"
            soundfile.write(path, say(text, rng), 8000)
            rows.append({"audio": path, "text": text})
        write_manifest(folder / "tones" / f"{split}.jsonl", rows)
    (folder / "mine").mkdir()
    (folder / "mine" / "recipe.yaml").write_text(RECIPE)
    return folder


def test_a_users_recipe_trains_and_its_model_transcribes(folder: Path):
    done = asr(folder, "train", "recipe=mine", "seed=5")
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "mine"
    wanted = {"best.safetensors", "last.safetensors", "config.yaml", "metrics.csv", "curves.png", "train.log"}
    assert wanted <= set(os.listdir(run))
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["seed"] == 5 and config["name"] == "mine" and config["features"]["kind"] == "logmel"
    assert "epoch 40: loss" in (run / "train.log").read_text() and "epoch 40: loss" in done.stderr
    assert "\r" not in done.stderr, "a progress bar where there is no terminal"
    assert model_file.load(run / "best.safetensors").card["valid"]["cer"] < 0.15
    report = asr(folder, "evaluate", "tones/valid.jsonl", "--model", str(run), "--json")
    rates = json.loads(report.stdout)  # of 8 kHz: resampled as in training
    assert rates["cer"] == pytest.approx(
        model_file.load(run / "best.safetensors").card["valid"]["cer"], abs=0.02
    )
    heard = asr(folder, "transcribe", "tones", "--model", str(run))
    assert heard.returncode == 0, heard.stderr
    read = dict(line.split("\t") for line in heard.stdout.splitlines())
    samples = list(read_manifest(folder / "tones" / "valid.jsonl"))
    right = sum(read[f"tones/{s.audio.name}"] == s.text for s in samples if s.audio)
    assert right >= 18 and len(read) == 110


def test_cells_and_the_noise_of_the_recurrence_come_from_the_command_line(folder: Path):
    noise = ("network.recurrent_dropout=0.1", "network.zoneout=[0.1,0.05]", "network.projection=16")
    done = asr(folder, "train", "recipe=mine", "name=cells", "trainer.epochs=1", "network.cell=cifg", *noise)
    assert done.returncode == 0, done.stderr
    model = model_file.load(folder / "runs" / "cells" / "best.safetensors")
    assert (model.network.lstm.cell, model.network.lstm.outputs) == ("cifg", 32)


def test_init_takes_what_model_takes(folder: Path):
    short = ("recipe=mine", "trainer.epochs=1")
    done = asr(folder, "train", *short, "name=first")
    assert done.returncode == 0, done.stderr
    for name, model, taken in (
        ("second", "runs/first", "3 of 3 symbols"),
        ("third", "speech-en-commands", "20 of 20 tensors, 27 of 30 symbols"),
    ):
        done = asr(folder, "train", *short, f"name={name}", f"init={model}")
        assert done.returncode == 0 and taken in done.stderr, done.stderr
    done = asr(folder, "train", *short, "name=fourth", "init=runs/none")
    assert done.returncode == 1 and "runs/none: there is no such model" in done.stderr


def test_a_second_run_does_not_write_over_the_first(folder: Path):
    words = ("recipe=mine", "trainer.epochs=1", "name=once")
    assert asr(folder, "train", *words).returncode == 0
    config = (folder / "runs" / "once" / "config.yaml").read_text()
    again = asr(folder, "train", *words, "seed=9")
    assert again.returncode == 1 and "already holds a run" in again.stderr
    assert (folder / "runs" / "once" / "config.yaml").read_text() == config
    assert asr(folder, "train", *words, "resume=true", "trainer.epochs=2").returncode == 0


def test_a_sweep_has_a_run_folder_for_each_job(folder: Path):
    done = asr(folder, "train", "recipe=mine", "-m", "seed=1,2", "trainer.epochs=1")
    assert done.returncode == 0, done.stderr
    runs = sorted((folder / "runs" / "mine-sweep").glob("*/best.safetensors"))
    assert [path.parent.name for path in runs] == ["seed=1", "seed=2"], "named by what is swept"
    head, *lines = done.stdout.splitlines()
    assert head.split()[0] == "run" and head.split()[-1] == "seed" and len(lines) == 2, "a table of both"


def test_ones_own_data_is_trained_on_in_one_command_and_the_run_goes_on_by_itself(folder: Path):
    rows = []
    for sample in read_manifest(folder / "tones" / "train.jsonl"):
        k = len(rows)
        rows.append({"audio": sample.audio, "text": "ab" if k % 2 else "c", "speaker": f"s{k % 8}"})
    write_manifest(folder / "own" / "all.jsonl", rows)
    small = ("init=null", "network=stack", "network.hidden=8", "network.layers=1", "trainer.threads=1")
    done = asr(folder, "train", "data=own", "trainer.epochs=1", *small)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "own"
    assert "split: by speaker" in done.stderr and "settings for up to 0.2 hours" in done.stderr
    parts = {n: list(read_manifest(run / "data" / f"{n}.jsonl")) for n in ("train", "valid", "test")}
    people = [{sample.group for sample in part} for part in parts.values()]
    assert sum(map(len, people)) == 8 and sum(map(len, parts.values())) == 80
    assert f"use it: asr transcribe FILE --model {Path('runs', 'own')}" in done.stderr
    assert "2 texts that repeat" in done.stderr and (run / "model.md").read_text().startswith("---\n")
    assert len(read_rows(run / "report.html")) == len(parts["test"])
    assert 'src="data:image/png;base64,' in (run / "report.html").read_text()
    header = model_file.read_header(run / "best.safetensors")
    assert header["card"]["data"].startswith("own: ") and "own test" in header["card"]["results"]
    if header["decoder"]:
        assert header["decoder"]["grammar"] == ["ab", "c"]
    done = asr(folder, "train", "resume=true", "trainer.epochs=2", f"hydra.run.dir={run}")
    assert done.returncode == 0 and "resumed at epoch 2" in done.stderr, done.stderr
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    done = asr(folder, "train", "name=own", "resume=true", "init=speech-en-commands")
    assert done.returncode == 2 and "does nothing beside resume=true" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("data=nowhere",), 1, "nowhere: there is no such"),
        (("data=mine",), 1, "mine: fits no layout; looked for"),
        (("data=tones/train.jsonl", "data.valid=x.jsonl"), 2, "leave out data.valid"),
        (("data=tones/train.jsonl", "recipe=unipen_words"), 2, "the recipe is for ink"),
    ],
)
def test_data_that_cannot_be_used_gets_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...], status: int, said: str,
):  # fmt: skip
    monkeypatch.chdir(folder)
    assert main(["train", *words]) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 2, "recipe="),
        (("recipe=nothing",), 2, "no such recipe; there are an4"),
        (("recipe=mine", "data.train=gone.jsonl"), 1, "gone.jsonl: there is no such manifest"),
        (("recipe=mine", "network.hiden=5"), 2, "Key 'hiden' is not in struct"),
        (("recipe=mine", "optimizer=adam"), 2, "Could not find 'optimizer/adam'"),
        (("recipe=mine", "network.hidden=[5"), 2, "asr: network.hidden=[5: no viable"),
        (("recipe=mine", "domain=ink"), 2, "use hwr train"),
        (("recipe=mine", "network.front=transformer"), 2, "network.front"),
        (("recipe=mine", "optimizer.kind=lbfgs"), 2, "adamw or sgd"),
        (("recipe=mine", "network.hidden=abc"), 2, "network.hidden must be"),
        (("recipe=mine", "network.cell=gru", "network.projection=8"), 1, "network.projection must be 0"),
        (("recipe=mine", "trainer.accelerator=mps"), 1, "trainer.accelerator=mps"),
        (("recipe=mine", "+decoder.decoder=foo"), 2, "decoder.decoder=foo"),
        (("recipe=mine", "name=${nowhere}"), 2, "nowhere"),
        (
            ("recipe=mine", "augment=speech", "augment.speed.range=5"),
            2,
            "augment.speed.range must be two numbers",
        ),
        (("recipe=mine", "augment=speech", "+augment.sped.probability=1"), 1, "augment has no sped"),
    ],
)
def test_mistakes_get_one_sentence(folder: Path, words: tuple[str, ...], status: int, said: str):
    done = asr(folder, "train", *words, "hydra.run.dir=runs/wrong")
    assert done.returncode == status
    assert said in done.stderr and "Traceback" not in done.stderr
    assert status == 1 or len(done.stderr.splitlines()) == 1
    assert not (folder / "runs" / "wrong" / "config.yaml").exists()


def test_keys_of_a_recipe_that_would_do_nothing_are_refused(folder: Path):
    (folder / "typo").mkdir()
    recipe = RECIPE.replace("hidden: 24", "hiden: 24") + "own: {x: 1}\n"
    (folder / "typo" / "recipe.yaml").write_text(recipe)
    done = asr(folder, "train", "recipe=typo")
    assert done.returncode == 2 and "the configuration has no own" in done.stderr
    (folder / "typo" / "recipe.yaml").write_text(recipe + "card: {name: 'n${own.x}'}\n")
    done = asr(folder, "train", "recipe=typo")  # `own` is referred to now
    assert done.returncode == 2 and "network has no hiden" in done.stderr and "hidden" in done.stderr
    assert "Traceback" not in done.stderr
    (folder / "typo" / "recipe.yaml").write_text("domain: [speech\n")
    done = asr(folder, "train", "recipe=typo")
    assert done.returncode == 2 and "recipe.yaml" in done.stderr and "Traceback" not in done.stderr


def test_a_language_model_is_trained_by_recipe_and_rescores(folder: Path):
    few = ("trainer.steps=4", "trainer.validate_every=2", "network.hidden=8", "trainer.rows=4")
    texts = ("data.train=tones/train.jsonl", "data.valid=tones/valid.jsonl", "fit=speech-en-commands")
    done = asr(folder, "train", "recipe=language", "name=letters", *few, *texts)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "letters"
    assert {path.name for path in run.iterdir()} == {
        "best.safetensors", "last.safetensors", "config.yaml", "metrics.csv", "train.log",
    }  # fmt: skip
    assert "each line by itself" in (run / "train.log").read_text()
    heard = asr(folder, "transcribe", "tones/train0.wav", "--rescore", str(run / "best.safetensors"))
    assert heard.returncode == 0, heard.stderr
    wrong = asr(folder, "transcribe", "tones/train0.wav", "--model", str(run))
    assert wrong.returncode == 1 and "is a language model, not a recogniser" in wrong.stderr
    done = asr(folder, "train", "recipe=language", "name=other", *texts, "trainer.epochs=3")
    assert done.returncode == 2 and not (folder / "runs" / "other" / "config.yaml").exists()
    done = asr(folder, "train", "recipe=language", "name=letters", *few, *texts, "resume=true")
    assert done.returncode == 0 and "resumed at step 4" in done.stderr
