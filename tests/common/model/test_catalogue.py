"""Models by name, file or run folder; what is wrong with one is told in one sentence that names it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from carousel.asr.features import size as speech_size
from carousel.common.cli.models import export_model, list_models
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.model.catalogue import find_model, open_model
from carousel.hwr.features import size as handwriting_size
from tests.tiny import tiny_model, with_features


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    tiny_model(folder / "best.safetensors", "speech")
    save_file({"x": torch.zeros(2)}, folder / "last.safetensors", {"carousel-training": "{}"})
    return folder


def test_a_model_is_found_by_file_run_folder_and_name(run_folder: Path, tmp_path: Path):
    best = run_folder / "best.safetensors"
    assert find_model(str(best), tmp_path) == find_model(str(run_folder), tmp_path) == best
    assert find_model("best", run_folder) == best
    with pytest.raises(InputError, match="best"):
        find_model("nothing", run_folder)
    assert open_model(str(run_folder), tmp_path, ["speech"], size=speech_size).card["name"] == "best"


@pytest.mark.parametrize("there", [False, True])
def test_auto_is_bf16_where_the_machine_multiplies_it_faster(there: bool, run_folder: Path, monkeypatch):
    monkeypatch.setattr("carousel.common.hardware.has_bf16", lambda device: there)
    for precision, expected in (("auto", there), ("fp32", False), ("bf16", True)):
        model = open_model(str(run_folder), run_folder, ["speech"], precision=precision)
        assert model.bf16 == expected


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"filters": 40}, "40 numbers a frame, and its network takes 20"),
        ({"sample_rate": None}, "features.sample_rate is missing"),
        ({"sample_rate": "a"}, "features.sample_rate must be a whole number, at least 1"),
        ({"window": "a"}, "features.window must be a number"),
        ({"deltas": True}, "features.deltas must be a whole number, at least 0 and at most 10, not true"),
        ({"kind": ["logmel"]}, "cannot be used"),
    ],
)
def test_features_that_are_not_the_networks_are_refused(run_folder: Path, features: dict, said: str):
    path = with_features(run_folder / "best.safetensors", **features)
    with pytest.raises(InputError) as caught:
        open_model(str(path), run_folder, ["speech"], size=speech_size)
    assert str(caught.value).startswith(f"{path}: its features") and said in str(caught.value)


@pytest.mark.parametrize("features", [{"height": 32}, {"height": "a"}, {"deskew": 3}, {"hieght": 24}])
def test_features_of_handwriting_too(tmp_path: Path, features: dict):
    path = with_features(tiny_model(tmp_path / "m.safetensors", "image"), **features)
    with pytest.raises(InputError, match="its features"):
        open_model(str(path), tmp_path, ["image"], size=handwriting_size)


def test_a_run_folder_is_listed_without_its_checkpoint(run_folder: Path, tmp_path: Path, capsys):
    assert list_models(tmp_path, [str(run_folder)], as_json=True) == 0
    told = capsys.readouterr()
    assert [model["name"] for model in json.loads(told.out)] == ["best"] and not told.err
    pytest.importorskip("onnxruntime")
    export_model(str(run_folder), run_folder / "best.onnx", tmp_path, ["speech"])
    capsys.readouterr()
    assert list_models(tmp_path, [str(run_folder)], as_json=True) == 0
    found = [Path(model["file"]).name for model in json.loads(capsys.readouterr().out)]
    assert found == ["best.safetensors", "best.onnx"]
    (run_folder / "best.onnx").unlink()
    (run_folder / "best.safetensors").unlink()
    assert list_models(tmp_path, [str(run_folder)], as_json=False) == 1
    assert "there is no model file" in capsys.readouterr().err


def test_language_models_are_listed_as_what_they_are(run_folder: Path, tmp_path: Path, capsys):
    from carousel.common.language.kneser_ney import estimate
    from carousel.common.language.lstm import LanguageModel, LanguageNetwork

    words = [["one", "two"], ["one", "three"]]
    ngram_files.save(estimate(words, 2), run_folder / "words.safetensors")
    settings = {"embedding": 2, "hidden": 3, "layers": 1, "cell": "lstm", "dropout": 0.0}
    tokens = ("<unk>", "</s>", "a", "b")
    card = {"name": "letters", "valid": {"perplexity": 7.5}}
    LanguageModel(LanguageNetwork(4, settings), tokens, settings, card=card).save(
        run_folder / "x.safetensors"
    )
    assert list_models(tmp_path, [str(run_folder)], as_json=True) == 0
    told = capsys.readouterr()
    found = {model["name"]: model for model in json.loads(told.out)}
    assert not told.err and set(found) == {"best", "words", "letters"}
    keys = ("kind", "domain", "unit", "symbols", "results")
    assert [found["words"][key] for key in keys] == ["2-gram model", "text", "words", 6, None]
    assert [found["letters"][key] for key in keys] == [
        "LSTM language model", "text", "characters", 4, {"perplexity": 7.5},
    ]  # fmt: skip
    assert found["best"]["kind"] == "recogniser"
    assert list_models(tmp_path, [str(run_folder)], as_json=False) == 0
    table = capsys.readouterr().out
    assert "2-gram model, words" in table and "LSTM language model, characters" in table
    save_file({"x": torch.zeros(2)}, run_folder / "words.safetensors", {"format": "carousel-ngrams-1"})
    assert list_models(tmp_path, [str(run_folder)], as_json=True) == 1
    assert "words.safetensors: is a damaged language model ('model' is missing)" in capsys.readouterr().err


def test_cards_of_any_kind_are_listed(tmp_path: Path, capsys):
    tiny_model(tmp_path / "m.safetensors", "speech", name=3, licence=["CC0"], results=[1])
    assert list_models(tmp_path, [], as_json=False) == 0
    assert "CC0" in capsys.readouterr().out


def test_a_card_has_no_power_over_the_terminal(tmp_path: Path, capsys):
    """Titles, colours, a cleared screen, C1 controls, and turned text; json keeps what is there."""
    evil = "x\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e\nfake"
    tiny_model(tmp_path / "m.safetensors", "speech", name=evil, licence=evil, results={evil: evil})
    assert list_models(tmp_path, [], as_json=False) == 0
    table = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(table) and r"x\x1b]0;PWNED" in table
    assert len(table.splitlines()) == 4
    assert list_models(tmp_path, [], as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == evil
