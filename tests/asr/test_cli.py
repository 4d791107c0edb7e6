"""The command `asr` as a user calls it, with a tiny untrained model in a real model file."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.cli import main
from tests.asr.test_transcribe import noise
from tests.tiny import tiny_model, with_features

COMMAND = [sys.executable, "-m", "carousel.asr.cli"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", "speech"))


@pytest.fixture
def recordings(tmp_path):
    """a.wav, b.flac and sub/a.wav below a folder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "b.flac", "sub/a.wav")):
        soundfile.write(folder / name, noise(1, seed), 16000)
    return folder


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_help_takes_less_than_half_a_second_of_the_processor():
    """Not of the clock, which on a busy machine measures what else is running."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("train", "transcribe", "evaluate", "models", "demo"))


def test_help_loads_nothing_heavy():
    heavy = {"torch", "numpy", "librosa", "scipy", "matplotlib", "soundfile", "hydra"}
    code = "import sys; from carousel.asr import cli as c; c.command.parser(c.PROGRAM); "
    code += f"print({heavy} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["translate", "a.wav"],
        ["transcribe", "a.wav", "--format", "docx"],
        ["transcribe", "a.wav", "--beam", "0"],
        ["transcribe", "a.wav", "--decoder", "magic"],
    ],
)
def test_wrong_usage_that_argparse_sees_is_status_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["transcribe"],
        ["transcribe", "-", "-"],
        ["transcribe", "a.wav", "--nbest", "2"],
        ["transcribe", "a.wav", "--decoder", "greedy", "--beam", "4"],
        ["transcribe", "a.wav", "b.wav", "--format", "srt"],
        ["evaluate", "a.jsonl", "--output", "hypotheses.docx"],
    ],
)
def test_options_that_contradict_each_other_are_status_2_and_one_line(words, capsys):
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_one_recording_prints_its_text_alone(model, recordings, capsys):
    status, out, err = run(capsys, "transcribe", recordings / "a.wav", "--model", model)
    assert (status, err) == (0, "")
    assert out.strip() and out.count("\n") == 1 and "\t" not in out


def test_a_folder_prints_one_line_for_each_recording_as_alone(model, recordings, capsys):
    _, out, _ = run(capsys, "transcribe", recordings, "--model", model)
    lines = dict(line.split("\t") for line in out.splitlines())
    assert list(lines) == [str(recordings / name) for name in ("a.wav", "b.flac", "sub/a.wav")]
    for path, text in lines.items():
        assert run(capsys, "transcribe", path, "--model", model)[1] == text + "\n"


def test_json_has_one_object_a_line_with_words_in_time(model, recordings, capsys):
    status, out, _ = run(capsys, "transcribe", recordings, "--model", model, "--format", "json", "--nbest", 3)
    objects = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(objects) == 3
    for read in objects:
        assert read["model"] == "tiny" and read["duration"] == 1.0
        assert 1 < len(read["nbest"]) <= 3 and read["nbest"][0]["text"] == read["text"]
        times = [time for word in read["words"] for time in (word["start"], word["end"])]
        assert times and times == sorted(times) and times[0] >= 0 and times[-1] <= 1.0


@pytest.mark.parametrize("form", ["txt", "json", "srt", "vtt", "tsv", "ctm"])
def test_output_holds_one_file_for_each_input(form, model, recordings, tmp_path, capsys):
    out = tmp_path / "out"
    status, printed, _ = run(
        capsys, "transcribe", recordings, "--model", model, "--format", form, "--output", out
    )
    assert (status, printed) == (0, "")
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == [f"a.{form}", f"b.{form}", f"sub/a.{form}"]
    assert all((out / name).stat().st_size for name in written)


def test_every_bad_input_has_its_sentence_and_the_others_are_done(model, recordings, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.wav").write_bytes(b"")
    (bad / "text.wav").write_text("this is no recording\n" * 20)
    (bad / "cut.flac").write_bytes((recordings / "b.flac").read_bytes()[:-2000])
    soundfile.write(bad / "zero.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(bad / "one.wav", np.full(1, 0.5, np.float32), 16000)
    names = ["empty.wav", "text.wav", "cut.flac", "zero.wav", "one.wav", "missing.wav"]
    inputs = [bad / name for name in names]
    inputs.insert(3, recordings / "a.wav")
    status, out, err = run(capsys, "transcribe", *inputs, "--model", model)
    assert status == 1
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(inputs[i]) for i in (2, 3)]
    said = err.splitlines()
    assert len(said) == len(names)
    for name, line in zip(names, said, strict=True):
        assert (
            line.startswith(f"{bad / name}: ")
            and "Traceback" not in line
            and len(line) > len(str(bad / name)) + 8
        )


def test_silence_is_empty_text_with_a_note_and_no_failure(model, tmp_path, capsys):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000, np.float32), 16000)
    status, out, err = run(capsys, "transcribe", tmp_path / "silent.wav", "--model", model)
    assert (status, out) == (0, "\n")
    assert err.count("\n") == 1 and "silent.wav" in err


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "ink"])
def test_a_model_that_cannot_be_used_is_one_sentence(kind, model, recordings, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    if kind == "text":
        path.write_text("not a model")
    elif kind == "truncated":
        path.write_bytes(Path(model).read_bytes()[:-100])
    elif kind == "ink":
        tiny_model(path, "ink")
    status, out, err = run(capsys, "transcribe", recordings, "--model", path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert str(path) in err
    if kind == "ink":
        assert "pen strokes" in err


@pytest.mark.parametrize("command", ["transcribe", "align", "spot"])
def test_a_truncated_recording_is_read_and_is_a_failure_unless_allowed(
    command, model, recordings, tmp_path, capsys
):
    cut = tmp_path / "cut.wav"
    cut.write_bytes((recordings / "a.wav").read_bytes()[:20000])
    words = {"transcribe": [cut], "align": [cut, "--text", "a"], "spot": ["a", cut]}[command]
    words = [command, *words, "--model", model, "--format", "json"]
    status, out, err = run(capsys, *words)
    assert (status, err.count("\n")) == (1, 1)
    assert "cut.wav: is truncated: its header promises 1.00 s, and 0.62 s are there, which are read" in err
    assert json.loads(out)["truncated"] is True
    status, again, err = run(capsys, *words, "--allow-truncated")
    assert (status, again, err.count("\n")) == (0, out, 1) and err.startswith("note: ")
    words[words.index(cut)] = recordings / "a.wav"
    status, out, err = run(capsys, *words)
    assert (status, err, json.loads(out)["truncated"]) == (0, "", False)


def test_notes_on_how_a_recording_was_read_are_no_failure(model, tmp_path, capsys):
    wave = noise(1, 0)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), 16000)
    status, out, err = run(capsys, "transcribe", tmp_path / "a.wav", "--model", model)
    assert (status, err.count("\n")) == (0, 1) and out.strip()
    assert err.startswith(f"note: {tmp_path / 'a.wav'}: its channels cancel")


def test_films_in_a_folder_are_read_and_playlists_are_not(model, recordings, capsys):
    shutil.copy(recordings / "a.wav", recordings / "film.mkv")  # the suffix decides whether it is tried
    (recordings / "list.m3u").write_text("#EXTM3U\na.wav\n")
    (recordings / "list.m4a").write_text("#EXTM3U\na.wav\n")
    status, out, err = run(capsys, "transcribe", recordings, "--model", model)
    assert (status, err.count("\n")) == (1, 1) and "list.m4a: is a playlist" in err
    assert str(recordings / "film.mkv") in out


def test_an_input_may_be_a_pipe_by_name(model, recordings, capsys):
    text = run(capsys, "transcribe", recordings / "a.wav", "--model", model)[1]
    line = f"cat {recordings / 'a.wav'} | {' '.join(COMMAND)} transcribe /dev/stdin --model {model}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, text, "")


def test_standard_input_is_a_recording(model, recordings, capsys):
    text = run(capsys, "transcribe", recordings / "a.wav", "--model", model)[1]
    done = subprocess.run(
        [*COMMAND, "transcribe", "-", "--model", model],
        input=(recordings / "a.wav").read_bytes(),
        capture_output=True,
    )
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, text, b"")


def test_a_reader_that_goes_away_is_quiet(model, recordings):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "transcribe", recordings, "--model", model], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# --- models ---


def test_models_lists_the_files_of_a_folder_and_names_those_it_cannot_read(tmp_path, capsys):
    tiny_model(tmp_path / "one.safetensors", "speech", name="first", licence="CC0-1.0", default=True)
    tiny_model(tmp_path / "two.safetensors", "ink")
    (tmp_path / "broken.safetensors").write_text("no")
    status, out, err = run(capsys, "models", tmp_path, "--json")
    found = {model["file"]: model for model in json.loads(out)}
    first, second = found[str(tmp_path / "one.safetensors")], found[str(tmp_path / "two.safetensors")]
    assert (first["name"], first["domain"], first["licence"], first["default"]) == (
        "first",
        "speech",
        "CC0-1.0",
        True,
    )
    assert (second["name"], second["domain"], second["symbols"]) == ("two", "ink", 9)
    assert status == 1 and "broken.safetensors" in err
    assert "first *" in run(capsys, "models", tmp_path / "one.safetensors")[1]


# --- decoders, demo, train ---


@pytest.mark.parametrize("decoder", ["greedy", "beam", "pyctcdecode"])
def test_every_decoder_reads_the_recording(decoder, model, recordings, capsys):
    words = ["transcribe", recordings / "a.wav", "--model", model, "--decoder", decoder, "--format", "json"]
    status, out, err = run(capsys, *words)
    read = json.loads(out)
    assert (status, err) == (0, "") and read["text"]
    assert all(0 <= symbol["start"] <= symbol["end"] <= 1 for symbol in read["symbols"])


def test_a_wider_beam_never_finds_a_worse_text(model, recordings, capsys):
    def score(beam):
        words = ["transcribe", recordings / "a.wav", "--model", model, "--beam", beam, "--format", "json"]
        return json.loads(run(capsys, *words)[1])["score"]

    assert score(1) < score(64)  # an untrained model is unsure, so that the width matters


def test_demo_says_what_it_read_and_draws_a_picture_of_each_sample(model, tmp_path, capsys):
    status, out, err = run(capsys, "demo", "--model", model, "--output", tmp_path / "pictures")
    assert (status, err) == (0, "")
    assert "says:    THREE ONE FOUR NINE ZERO" in out and out.count("read as: ") == 2
    for name in ("demo-digits.png", "demo-phrase.png"):
        assert (tmp_path / "pictures" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["transcribe", "evaluate", "demo"])
def test_a_model_whose_features_are_not_its_networks_is_refused(command, model, recordings, tmp_path, capsys):
    inputs = {"transcribe": [recordings / "a.wav"], "evaluate": [tmp_path / "m.jsonl"], "demo": []}[command]
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": str(recordings / "a.wav"), "text": "a"}))
    other = with_features(Path(model), filters=10)
    status, out, err = run(capsys, command, *inputs, "--model", other)
    assert (status, out) == (1, "") and "10 numbers a frame, and its network takes 20" in err


def test_train_help_names_our_recipes_and_the_settings(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "recipe=an4", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "recipe=NAME|FOLDER" in told and "KEY=VALUE" in told
    assert "one of an4, fsdd, language, librispeech, phones, speechocean762" in told
    assert "hidden: 256 cells in each direction" in told


def test_train_hands_its_arguments_to_the_recipes(capsys):
    status, _, err = run(capsys, "train", "recipe=no_such_recipe")
    assert status in (1, 2) and "no_such_recipe" in err and err.count("\n") == 1
