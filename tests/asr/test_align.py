"""`asr align` and `asr spot` as a user calls them, with a tiny untrained model; the rule of word edges."""

import json
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from carousel.asr.align import BELOW, loudness, symbol_edges, word_edges
from carousel.asr.cli import main
from carousel.asr.recording import word_segments
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Symbol
from carousel.common.errors import InputError
from tests.asr.test_transcribe import noise
from tests.tiny import tiny_model

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", "speech", " ABCDEFGH"))


@pytest.fixture
def recordings(tmp_path):
    """a.wav with a.txt, b.flac with b.lab, and a manifest of both."""
    folder = tmp_path / "in"
    folder.mkdir()
    for seed, (name, text) in enumerate({"a.wav": "a.txt", "b.flac": "b.lab"}.items()):
        soundfile.write(folder / name, noise(2, seed), RATE)
        (folder / text).write_text("Bad cab\nhead\n" if seed else "dead beef")
    rows = [{"audio": "a.wav", "text": "dead beef"}, {"audio": "b.flac", "text": "Bad cab head"}]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


# --- where words begin and end ---


def wave_of(*pieces: tuple[float, float]) -> np.ndarray:
    """(seconds, amplitude) of noise each."""
    rng = np.random.default_rng(0)
    return np.concatenate([a * rng.uniform(-1, 1, round(s * RATE)) for s, a in pieces]).astype(np.float32)


def test_words_end_where_their_sound_does_and_part_where_it_is_quietest():
    level = loudness(
        wave_of((0.3, 1e-4), (0.5, 0.5), (0.3, 1e-4), (0.4, 0.3), (0.05, 0.1), (0.35, 0.4)), RATE
    )
    assert len(level) == 190
    spikes = [(0.0, 0.5, 0.53), (1.2, 1.3, 1.33), (1.63, 1.7, 1.73)]  # the first one stands before the sound
    edges = word_edges(spikes, level, 1.9)
    assert edges[0] == pytest.approx((0.3, 0.8)) and edges[1][0] == pytest.approx(1.1)
    assert 1.5 <= edges[1][1] <= 1.55 and edges[2] == (pytest.approx(edges[1][1]), 1.9)


def test_a_click_after_a_pause_is_no_part_of_the_word_and_a_stop_inside_is():
    level = loudness(
        wave_of((0.2, 0.5), (0.1, 1e-4), (0.2, 0.5), (0.5, 1e-4), (0.02, 0.5), (0.1, 1e-4)), RATE
    )
    assert word_edges([(0.0, 0.4, 0.43)], level, 1.12) == [(pytest.approx(0.0), pytest.approx(0.5))]


def test_what_is_far_below_the_peak_of_a_word_is_not_heard():
    soft = 0.5 * 10 ** (-(BELOW + 6) / 20)
    level = loudness(wave_of((0.3, 1e-5), (0.2, soft), (0.3, 0.5), (0.2, 1e-5)), RATE)
    ((start, end),) = word_edges([(0.6, 0.7, 0.73)], level, 1.0)
    assert (start, end) == (pytest.approx(0.5), pytest.approx(0.8))


@pytest.mark.parametrize("seed", range(20))
def test_edges_rise_whatever_the_spikes_and_the_sound(seed):
    rng = np.random.default_rng(seed)
    level = rng.uniform(-100, 0, 100)
    frames = np.sort(rng.choice(33, 2 * int(rng.integers(1, 16)), replace=False)) * 0.03
    spikes = [(a, b, b + 0.03) for a, b in frames.reshape(-1, 2).tolist()]
    edges = word_edges(spikes, level, 1.0)
    flat = [time for edge in edges for time in edge]
    assert len(edges) == len(spikes) and flat == sorted(flat) and flat[0] >= 0 and flat[-1] <= 1.0
    assert all(end > start for start, end in edges)


def test_letters_share_their_word_though_spikes_stand_outside_it():
    word = [Symbol(text, at, at + 1, 0.5) for text, at in zip("ABCD", (0, 1, 12, 29), strict=True)]
    timed = symbol_edges(word, 0.03 * np.arange(31), 0.2, 0.8)
    assert [t.start for t in timed] == pytest.approx([0.2, 0.21, 0.36, 0.79])
    assert [t.end for t in timed] == pytest.approx([0.21, 0.36, 0.79, 0.8])
    short = symbol_edges(word, 0.03 * np.arange(31), 0.2, 0.22)
    assert [t.end - t.start for t in short] == pytest.approx([0.005] * 4)


# --- asr align ---


def objects(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_has_words_and_letters_in_the_users_spelling(model, recordings, capsys):
    words = ["align", recordings / "a.wav", "--model", model, "--format", "json"]
    status, out, err = run(capsys, *words, "--text", "Dead  beef")
    (found,) = objects(out)
    assert (status, err, found["text"], found["duration"]) == (0, "", "Dead beef", 2.0)
    assert [word["text"] for word in found["words"]] == ["Dead", "beef"]
    assert "".join(symbol["text"] for symbol in found["symbols"]) == "Dead beef"
    times = [time for symbol in found["symbols"] for time in (symbol["start"], symbol["end"])]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 2.0
    frames = [frame for symbol in found["symbols"] for frame in symbol["frames"]]
    assert frames == sorted(frames) and found["score"] < found["score_per_frame"] < 0
    assert found["confidence"] == pytest.approx(np.mean([w["confidence"] for w in found["words"]]), abs=1e-4)


def test_every_way_to_give_a_text_gives_the_same(model, recordings, tmp_path, capsys):
    rest = ["--model", model, "--format", "json"]
    beside = objects(run(capsys, "align", recordings, *rest)[1])
    assert [found["text"] for found in beside] == ["dead beef", "Bad cab head"]
    manifest = objects(run(capsys, "align", recordings / "all.jsonl", *rest)[1])
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("a.txt", "b.lab"):
        (recordings / name).rename(texts / name)
    folder = objects(run(capsys, "align", recordings, *rest, "--transcript", texts)[1])
    one = run(capsys, "align", recordings / "a.wav", *rest, "--transcript", texts / "a.txt")[1]
    assert beside == folder == manifest and objects(one) == beside[:1]
    done = subprocess.run(
        [sys.executable, "-m", "carousel.asr.cli", "align", "-", "--text", "dead beef", *map(str, rest)],
        input=(recordings / "a.wav").read_bytes(),
        capture_output=True,
    )
    assert done.returncode == 0 and objects(done.stdout.decode())[0]["words"] == beside[0]["words"]


def tiers(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """A TextGrid read as Praat does: by its order of values alone, whatever stands between."""
    values = re.findall(r'"(?:[^"]|"")*"|<exists>|(?<![\w.\[])-?\d+(?:\.\d+)?(?![\w.\]])', text)
    assert values[:2] == ['"ooTextFile"', '"TextGrid"'] and values[4] == "<exists>"
    rest = iter(values[5:])
    found = {}
    for _ in range(int(next(rest))):
        assert next(rest) == '"IntervalTier"'
        name, low, high, count = (next(rest) for _ in range(4))
        assert (low, high) == tuple(values[2:4])
        rows = [
            (float(next(rest)), float(next(rest)), next(rest)[1:-1].replace('""', '"'))
            for _ in range(int(count))
        ]
        found[name[1:-1]] = rows
    assert list(rest) == []
    return found


def test_textgrid_has_both_tiers_without_gaps(model, recordings, tmp_path, capsys):
    words = ["align", recordings / "a.wav", "--model", model, "--text", 'dead "beef"', "--skip-unknown"]
    found = objects(run(capsys, *words, "--format", "json")[1])[0]
    run(capsys, *words, "--format", "textgrid", "--output", tmp_path / "out")
    grid = tiers((tmp_path / "out" / "a.TextGrid").read_text(encoding="utf-8"))
    for name, key in (("words", "words"), ("characters", "symbols")):
        rows = grid[name]
        assert rows[0][0] == 0 and rows[-1][1] == 2.0
        assert all(one[1] == two[0] for one, two in pairwise(rows))
        assert all(start < end for start, end, _ in rows)
        expected = [(i["start"], i["end"], i["text"]) for i in found[key] if i["text"] != " "]
        assert [row for row in rows if row[2]] == [
            (pytest.approx(s), pytest.approx(e), t) for s, e, t in expected
        ]
    assert [row[2] for row in grid["words"] if row[2]] == ["dead", '"beef"']


def test_files_that_differ_in_their_suffix_share_a_text_and_have_an_output_each(
    model, recordings, tmp_path, capsys
):
    soundfile.write(recordings / "a.flac", noise(2, 7), RATE)
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in {"a.txt": "dead beef", "b.txt": "bad cab"}.items():
        (texts / name).write_text(text)
    words = ("align", recordings, "--model", model, "--format", "json", "--transcript", texts)
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    assert [found["text"] for found in objects(out)] == ["dead beef", "dead beef", "bad cab"]
    assert run(capsys, *words, "--output", tmp_path / "out")[0] == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.flac.json", "a.wav.json", "b.json"]
    (texts / "a.wav.txt").write_text("a bad head")  # a text of its own goes first
    assert [found["text"] for found in objects(run(capsys, *words)[1])][1] == "a bad head"


def test_files_of_one_name_in_two_folders_do_not_share_a_text(model, recordings, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    soundfile.write(other / "a.wav", noise(2, 7), RATE)
    texts = tmp_path / "texts"
    (texts / "other").mkdir(parents=True)
    (texts / "a.txt").write_text("dead")
    (texts / "other" / "a.txt").write_text("beef")
    words = ("align", recordings / "a.wav", other / "a.wav", "--model", model, "--transcript", texts)
    status, out, err = run(capsys, *words, "--format", "json")
    assert status == 1 and [found["text"] for found in objects(out)] == ["beef"]
    assert str(texts / "in" / "a.txt") in err


@pytest.mark.parametrize("form", ["ctm", "srt", "vtt", "tsv"])
def test_the_formats_of_transcripts_are_those_of_alignments(form, model, recordings, tmp_path, capsys):
    words = ["align", recordings, "--model", model, "--format", form, "--output", tmp_path]
    assert run(capsys, *words) == (0, "", "")
    text = (tmp_path / f"b.{form}").read_text()
    if form == "ctm":
        assert [line.split()[4] for line in text.splitlines()] == ["Bad", "cab", "head"]
    else:
        assert "Bad cab head" in " ".join(text.split())


def test_every_text_that_cannot_be_aligned_has_its_sentence(model, recordings, tmp_path, capsys):
    for name in ("long", "odd", "none", "empty", "latin"):
        soundfile.write(recordings / f"{name}.wav", noise(0.5, 3), RATE)
    soundfile.write(recordings / "silent.wav", np.zeros(RATE, np.float32), RATE)
    (recordings / "long.txt").write_text("a" * 200)
    (recordings / "odd.txt").write_text("bad, é")
    (recordings / "empty.txt").write_text("\n")
    (recordings / "latin.txt").write_bytes("é".encode("latin-1"))
    (recordings / "silent.txt").write_text("bad")
    status, out, err = run(capsys, "align", recordings, "--model", model)
    assert status == 1 and {line.split()[0] for line in out.splitlines()} == {"a", "b"}
    said = {line.split(":")[0].rsplit("/")[-1].split(".")[0]: line for line in err.splitlines()}
    assert len(said) == len(err.splitlines()) == 6
    assert "at least 399 output frames" in said["long"] and "too long" in said["long"]
    assert "'é' (U+00E9)" in said["odd"] and "',' (U+002C)" in said["odd"]
    assert "none.txt or" in said["none"] and "nothing in it" in said["empty"]
    assert "latin.txt" in said["latin"] and "UTF-8" in said["latin"] and "silent" in said["silent"]
    status, out, err = run(capsys, "align", recordings / "odd.wav", "--model", model, "--skip-unknown")
    assert status == 0 and out.split()[4] == "bad," and "passed over ',' (U+002C), 'é' (U+00E9)" in err


@pytest.mark.parametrize(
    "words",
    [
        ["align", "a.wav", "b.wav", "--text", "a"],
        ["align", ".", "--text", "a"],
        ["align", "all.jsonl", "--text", "a"],
        ["align", "a.wav", "b.wav", "--transcript", "a.txt"],
        ["spot", "a"],
        ["spot"],
        ["spot", " , ", "a.wav"],
        ["spot", __file__, "a.wav"],
        ["spot", "a", "a.wav", "--roc", "a.png"],
        ["spot", "a", "a.wav", "--tune", "a.jsonl"],
        ["spot", "a", "--tune", "a.jsonl", "--format", "ctm"],
        ["spot", "a.wav", "--words", "missing.txt"],
    ],
)
def test_wrong_usage_is_status_2_and_one_line(words, capsys):
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_word_segments_are_those_of_the_command(model, recordings, capsys):
    from carousel.asr.features import size
    from carousel.common.model.catalogue import open_model

    opened = open_model(model, recordings, ("speech",), "cpu", size)
    found = word_segments(opened, Sample("Bad cab head", audio=recordings / "b.flac"))
    told = objects(run(capsys, "align", recordings, "--model", model, "--format", "json")[1])[1]["words"]
    assert [(w.text, round(w.start, 3), round(w.end, 3)) for w in found] == [
        (w["text"], w["start"], w["end"]) for w in told
    ]
    with pytest.raises(InputError, match=r"b\.flac: the text needs at least"):
        word_segments(opened, Sample("a" * 300, audio=recordings / "b.flac"))
    with pytest.raises(InputError, match=r"missing\.wav"):
        word_segments(opened, Sample("a", audio=recordings / "missing.wav"))


def test_a_recording_in_windows_is_aligned_over_the_cuts(model, tmp_path, capsys, monkeypatch):
    wave = np.concatenate([noise(3, 1), np.zeros(RATE // 2, np.float32), noise(3, 2)])
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    words = ["align", tmp_path / "long.wav", "--model", model, "--text", "bad cab " * 8, "--format", "json"]
    monkeypatch.setattr("carousel.asr.recording.WHOLE", 4.0)
    monkeypatch.setattr("carousel.asr.recording.SHORTEST", 1.0)
    monkeypatch.setattr("carousel.asr.recording.LONGEST", 2.5)
    status, out, _ = run(capsys, *words)
    (found,) = objects(out)
    times = [time for word in found["words"] for time in (word["start"], word["end"])]
    assert status == 0 and len(found["words"]) == 16 and times == sorted(times) and times[-1] <= 6.5


# --- asr spot ---


def test_spot_options_change_what_is_found(model, recordings, tmp_path, capsys):
    base = ["a,b ,a", recordings, "--model", model, "--format", "json"]
    status, out, err = run(capsys, "spot", *base, "--threshold", "0.01", "--inside")
    inside = [item for found in objects(out) for item in found["spotted"]]
    assert (status, err) == (0, "") and {item["word"] for item in inside} == {"a", "b"}
    assert all(0.01 <= item["score"] <= 1 and 0 <= item["start"] < item["end"] <= 2 for item in inside)
    bounded = [i for f in objects(run(capsys, "spot", *base, "--threshold", "0.01")[1]) for i in f["spotted"]]
    certain = run(capsys, "spot", *base, "--threshold", "1", "--inside")[1]
    default = run(capsys, "spot", *base, "--inside")[1]
    assert len(bounded) < len(inside)
    assert len(certain) <= len(default) < len(out)
    (tmp_path / "words.txt").write_text("a\n\nb\n")
    assert run(capsys, "spot", "--words", tmp_path / "words.txt", *base[1:], "--inside")[1] == default
    ctm = run(capsys, "spot", *base[:-1], "ctm", "--inside")[1].splitlines()
    txt = run(capsys, "spot", *base[:-1], "txt", "--inside")[1].splitlines()
    assert len(ctm) == sum(len(f["spotted"]) for f in objects(default)) == sum(t.count(" s (") for t in txt)
    assert len(txt) == 2


def test_spot_names_words_that_the_model_cannot_write(model, recordings, capsys):
    status, out, err = run(capsys, "spot", "a,xyz", recordings, "--model", model)
    assert (status, out, err.count("\n")) == (1, "", 1) and "'x' (U+0078)" in err


def test_spot_tells_what_to_do_about_words_and_pictures(model, recordings, tmp_path, capsys):
    status, _, err = run(capsys, "spot", "a,xyz", recordings, "--model", model)
    assert status == 1 and "'x' (U+0078)" in err and "--skip-unknown" not in err  # an option of align
    status, _, err = run(capsys, "align", recordings / "a.wav", "--text", "xyz", "--model", model)
    assert status == 1 and "'x' (U+0078)" in err and "--skip-unknown" in err
    (tmp_path / "latin1.txt").write_bytes("h\xe9llo".encode("latin-1"))
    status, _, err = run(capsys, "spot", "--words", tmp_path / "latin1.txt", recordings, "--model", model)
    assert status == 1 and "latin1.txt: cannot be read as a list of words" in err and err.count("\n") == 1
    assert run(capsys, "spot", "", recordings, "--model", model) == (2, "", "asr: there is no word to find\n")
    tuned = ["spot", "a", "--tune", tmp_path / "not read.jsonl", "--model", model, "--roc"]
    for picture in ("roc.txt", "no/roc.png"):
        status, _, err = run(capsys, *tuned, tmp_path / picture)
        assert status == 2 and f"--roc {tmp_path / picture}: " in err


def test_a_threshold_out_of_range_is_wrong_usage(capsys):
    for given in ("2", "-1", "nan", "much"):
        with pytest.raises(SystemExit):
            main(["spot", "a", "a.wav", "--threshold", given])
        assert f"{given!r} is not a number of at least 0 and of at most 1" in capsys.readouterr().err


def test_a_manifest_that_is_missing_leaves_the_other_inputs(model, recordings, capsys):
    status, out, err = run(capsys, "align", "no.jsonl", recordings / "a.wav", "--model", model)
    assert status == 1 and out.startswith("a 1 ") and err.startswith("no.jsonl: there is no such manifest")
    assert err.count("\n") == 1


def test_manifests_of_pictures_are_named_and_left_out(model, recordings, capsys):
    with (recordings / "all.jsonl").open("a") as file:
        file.write('{"image": "x.png", "text": "bad"}\n')
    for words in (["align", recordings / "all.jsonl"], ["spot", "bad", "--tune", recordings / "all.jsonl"]):
        status, out, err = run(capsys, *words, "--model", model)
        assert status == 1 and out and err.count("\n") == 1 and 'has no "audio"' in err


def test_an_input_given_twice_is_spotted_twice(model, recordings, tmp_path, capsys):
    words = ["spot", "a", recordings / "a.wav", recordings / "a.wav", "--model", model, "--inside"]
    one, two = run(capsys, *words)[1].splitlines()
    assert one == two and run(capsys, *words, "--output", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav-2.txt", "a.wav.txt"]


def test_silence_has_no_keyword(model, tmp_path, capsys):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    words = ["spot", "a", tmp_path / "silent.wav", "--model", model, "--threshold", "0"]
    assert run(capsys, *words) == (0, "\n", "")


def test_tune_counts_and_draws(model, recordings, tmp_path, capsys):
    words = ["spot", "dead,cab,f", "--model", model, "--tune", recordings / "all.jsonl", "--format", "json"]
    status, out, err = run(capsys, *words, "--inside", "--roc", tmp_path / "roc.png")
    (best,) = objects(out)
    assert (status, err) == (0, "") and (tmp_path / "roc.png").read_bytes()[:4] == b"\x89PNG"
    assert (
        best["references"] == 3
        and 0 <= best["hits"] <= 3
        and best["minutes"] == pytest.approx(4 / 60, abs=0.01)
    )
    expected = 2 * best["hits"] / (best["hits"] + best["false_alarms"] + 3)
    assert best["f1"] == pytest.approx(expected, abs=1e-4)
    (none,) = objects(run(capsys, *words, "--inside", "--threshold", "1")[1])
    assert none["threshold"] == 1 and none["hits"] + none["false_alarms"] < 10
    table = run(capsys, *words[:-2], "--inside")[1]
    assert f"use it with --threshold {best['threshold']}" in table
    status, out, err = run(capsys, "spot", "h", *words[2:])
    assert (status, out) == (1, "") and "none of the words is in its texts" in err
