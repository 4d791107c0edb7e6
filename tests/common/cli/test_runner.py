"""Inputs, outputs and running over them, with files on disk and functions that fail as real ones do."""

import argparse
import io
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.asr.formats import FORMATS
from carousel.common import recogniser as recognise
from carousel.common.cli import decoding
from carousel.common.cli import options as arguments
from carousel.common.cli import runner as command
from carousel.common.cli.failures import Failures, guarded
from carousel.common.cli.inputs import Input, expand, with_unique_stems
from carousel.common.decoding import DECODERS
from carousel.common.errors import InputError, UsageError, sentence
from carousel.common.options import settings
from carousel.common.text.alphabet import Alphabet


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_the_constants_of_help_are_those_of_the_modules_it_must_not_load():
    assert set(settings()["decoder"]["choices"]) == set(DECODERS)
    assert arguments.BATCH_FRAMES == recognise.BATCH_FRAMES


# --- inputs ---


def test_a_folder_gives_its_known_files_below_it_in_order(tmp_path):
    touch(
        tmp_path, "b.wav", "a.WAV", "notes.txt", "sub/c.flac", ".hidden.wav", ".git/d.wav", "sub/deep/e.wav"
    )
    failures = Failures()
    found = expand([str(tmp_path)], [".wav", ".flac"], "recording", failures)
    assert [item.stem for item in found] == ["a", "b", "sub/c", "sub/deep/e"]
    assert [item.path for item in found] == [
        tmp_path / n for n in ("a.WAV", "b.wav", "sub/c.flac", "sub/deep/e.wav")
    ]
    assert failures.status == 0


def test_a_file_is_taken_whatever_its_suffix_and_even_if_it_is_missing(tmp_path):
    touch(tmp_path, "data.bin")
    inputs = [str(tmp_path / "data.bin"), str(tmp_path / "missing.wav"), "-"]
    assert [item.stem for item in expand(inputs, [".wav"], "recording", Failures())] == [
        "data",
        "missing",
        "stdin",
    ]


def test_a_folder_without_a_recording_is_a_failure_and_the_other_inputs_stay(tmp_path, capsys):
    touch(tmp_path, "empty/readme.txt", "full/a.wav")
    failures = Failures()
    found = expand([str(tmp_path / "empty"), str(tmp_path / "full")], [".wav"], "recording", failures)
    assert [item.stem for item in found] == ["a"] and failures.status == 1
    assert capsys.readouterr().err == f"{tmp_path / 'empty'}: there is no recording in this folder\n"


def test_standard_input_twice_is_wrong_usage():
    with pytest.raises(UsageError):
        expand(["-", "a.wav", "-"], [".wav"], "recording", Failures())


@pytest.mark.parametrize("given", [[""], ["a.wav", ""]])
def test_an_empty_name_is_wrong_usage_and_not_the_current_folder(given):
    with pytest.raises(UsageError, match="empty name"):
        expand(given, [".wav"], "recording", Failures())


def test_files_of_a_folder_without_a_known_suffix_can_be_looked_at(tmp_path):
    touch(tmp_path, "a.wav", "b.raw", "c.txt")
    found = expand([str(tmp_path)], [".wav"], "recording", Failures(), lambda file: file.suffix == ".raw")
    assert [item.stem for item in found] == ["a", "b"]


STEMS = st.sampled_from(["a", "A", "a.wav", "a-2", "a.wav-2", "b"])


@given(st.lists(st.tuples(STEMS, st.sampled_from([".wav", ".mp3", ""])), max_size=12))
def test_no_two_inputs_share_a_place_in_the_output_folder(names):
    given_inputs = [
        Input(f"{i}/{stem}{suffix}", Path(f"{i}/{stem}{suffix}"), stem)
        for i, (stem, suffix) in enumerate(names)
    ]
    found = with_unique_stems(given_inputs)
    stems = [item.stem.casefold() for item in found]
    assert len(set(stems)) == len(stems)
    assert [item.path for item in found] == [item.path for item in given_inputs]
    for (stem, _), item in zip(names, found, strict=True):
        assert stem in item.stem
        if (
            [s.casefold() for s, _ in names].count(stem.casefold()) == 1
            and "." not in stem
            and "-" not in stem
        ):
            assert item.stem == stem  # a name that is not in doubt stays as it is


def test_places_of_like_named_inputs(tmp_path):
    touch(tmp_path, "x/a.wav", "y/a.wav", "x/a.mp3")
    paths = [str(tmp_path / name) for name in ("x/a.wav", "x/a.mp3", "y/a.wav")]
    found = expand(paths, [".wav"], "recording", Failures())
    assert [item.stem for item in found] == ["x/a.wav", "x/a.mp3", "y/a.wav"]
    found = expand([paths[0], paths[2]], [".wav"], "recording", Failures())
    assert [item.stem for item in found] == ["x/a", "y/a"]
    found = expand([paths[0], paths[1], paths[0]], [".wav"], "recording", Failures())
    assert [item.stem for item in found] == ["a.wav", "a.mp3", "a.wav-2"]
    touch(tmp_path, "p/in/sub/a.wav", "q/in/sub/a.wav")
    folders = [str(tmp_path / name / "in") for name in ("p", "q")]
    found = expand(folders, [".wav"], "recording", Failures())
    assert [item.stem for item in found] == ["p/in/sub/a", "q/in/sub/a"]


def test_files_of_one_name_do_not_write_over_each_other(tmp_path, monkeypatch):
    touch(tmp_path, "x/a.wav", "a.wav")
    monkeypatch.chdir(tmp_path)
    emit_all(["a.wav", "x/a.wav"], options(["a.wav", "x/a.wav"], tmp_path / "out"), ["one\n", "two\n"])
    assert (tmp_path / "out" / "a.txt").read_text() == "one\n"
    assert (tmp_path / "out" / "x" / "a.txt").read_text() == "two\n"


# --- outputs ---


def options(inputs, output=None, form="txt"):
    return argparse.Namespace(inputs=inputs, output=output, format=[form])


def emit_all(arguments_given, args, texts):
    found = expand(arguments_given, [".wav"], "recording", Failures())
    forms = {name: replace(form, write=lambda text, item, model: text) for name, form in FORMATS.items()}
    emit = command.emitter(found, args, forms)
    for item, text in zip(found, texts, strict=True):
        emit(item, text, "model")


def test_one_input_prints_its_text_alone_and_several_print_their_names(capsys):
    emit_all(["a.wav"], options(["a.wav"]), ["hello\n"])
    assert capsys.readouterr().out == "hello\n"
    emit_all(["a.wav", "-"], options(["a.wav", "-"]), ["hello\n", "you\n"])
    assert capsys.readouterr().out == "a.wav\thello\n-\tyou\n"


def test_a_folder_prints_names_even_if_it_holds_one_file(tmp_path, capsys):
    touch(tmp_path, "a.wav")
    emit_all([str(tmp_path)], options([str(tmp_path)]), ["hello\n"])
    assert capsys.readouterr().out == f"{tmp_path / 'a.wav'}\thello\n"


@pytest.mark.parametrize("form", ["srt", "vtt", "tsv"])
def test_several_inputs_cannot_share_a_format_with_one_header_or_numbering(form):
    with pytest.raises(UsageError, match="--output"):
        emit_all(["a.wav", "b.wav"], options(["a.wav", "b.wav"], form=form), ["", ""])


def test_output_keeps_sub_folders_and_leaves_nothing_half_written(tmp_path):
    touch(tmp_path, "in/a.wav", "in/sub/a.wav")
    out = tmp_path / "out"
    emit_all([str(tmp_path / "in")], options([str(tmp_path / "in")], out, "srt"), ["one", "two"])
    written = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert written == {"a.srt": "one", "sub/a.srt": "two"}


def test_an_input_is_never_written_over(tmp_path):
    touch(tmp_path, "a.json")
    with pytest.raises(InputError, match="written over"):
        emit_all([str(tmp_path / "a.json")], options([str(tmp_path / "a.json")], tmp_path, "json"), ["{}"])
    assert (tmp_path / "a.json").read_bytes() == b"x"


def test_an_output_that_cannot_be_made_is_named_with_what_to_do(tmp_path):
    touch(tmp_path, "file", "out/a.txt/inside")
    for folder, said in (
        (tmp_path / "file", "file: is a file"),
        (tmp_path / "file" / "sub", "sub: the folder cannot be made"),
        (tmp_path / "out", r"a\.txt: cannot be written"),  # there is a folder in its place
    ):
        with pytest.raises(InputError, match=f"{said}.*; give another --output"):
            emit_all(["a.wav"], options(["a.wav"], folder), ["hello"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


# --- running ---


@given(
    st.lists(st.sampled_from(["fine", "read", "work", "emit"]), max_size=30),
    st.integers(1, 20),
    st.sampled_from([InputError("is bad"), OSError(5, "Input/output error"), MemoryError()]),
)
def test_what_fails_is_counted_and_everything_else_is_done_in_order(fates, budget, error):
    def read(i):
        if fates[i] == "read":
            raise error
        return i

    def work(sources):
        if any(fates[i] == "work" for i in sources):
            raise error
        return [10 * i for i in sources]

    emitted = []

    def emit(i, result):
        if fates[i] == "emit":
            raise error
        emitted.append((i, result))

    failures, stderr, sys.stderr = Failures(), sys.stderr, io.StringIO()
    try:
        command.run(
            range(len(fates)),
            read,
            work,
            emit,
            failures,
            name=lambda i: f"<{i}>",
            weigh=lambda i: i % 7,
            budget=budget,
        )
        said = sys.stderr.getvalue()
    finally:
        sys.stderr = stderr
    assert emitted == [(i, 10 * i) for i, fate in enumerate(fates) if fate == "fine"]
    assert failures.count == len(fates) - len(emitted) == len(said.splitlines())
    assert all(f"<{i}>: " in said for i, fate in enumerate(fates) if fate != "fine")


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 30))
def test_groups_are_bounded_by_weight_and_by_number(weights, budget):
    groups: list[list[int]] = []

    def work(sources):
        groups.append(sources)
        return sources

    command.run(
        weights,
        lambda w: w,
        work,
        lambda key, result: None,
        Failures(),
        name=str,
        weigh=lambda w: w,
        budget=budget,
    )
    assert list(itertools.chain(*groups)) == weights
    for group in groups:
        assert len(group) <= command.GROUP and sum(group[:-1]) < budget


def test_a_reader_that_has_gone_stops_the_run():
    def emit(key, result):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        command.run([1], lambda k: k, list, emit, Failures(), name=str, weigh=lambda s: 1, budget=1)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 100))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    found = recognise.batches(lengths, budget)
    assert sorted(itertools.chain(*found)) == [i for i, length in enumerate(lengths) if length]
    for batch in found:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget


# --- errors ---


def failing(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a.wav: is\n  empty"), 1, "asr: a.wav: is empty\n"),
        (UsageError("no"), 2, "asr: no\n"),
        (PermissionError(13, "Permission denied", "out"), 1, "asr: permission denied: out\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_a_status(error, status, said, capsys):
    assert guarded(failing(error), "asr") == status
    assert capsys.readouterr().err == said


def test_a_mistake_of_ours_is_told_with_its_place_and_shows_its_traceback_to_those_who_ask(
    capsys, monkeypatch
):
    monkeypatch.delenv("CAROUSEL_DEBUG", raising=False)
    assert guarded(failing(ZeroDivisionError("by  zero")), "asr") == 1
    said = capsys.readouterr().err
    assert said.startswith("asr: ZeroDivisionError at test_runner.py:") and said.count("\n") == 1
    assert "(by zero)" in said and "CAROUSEL_DEBUG=1" in said
    monkeypatch.setenv("CAROUSEL_DEBUG", "1")
    assert guarded(failing(ZeroDivisionError()), "asr") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_what_torch_says_of_memory_is_said_plainly():
    for said in (
        "CUDA out of memory. Tried to allocate",
        "[enforce fail] . can't allocate memory: you tried",
    ):
        assert sentence(RuntimeError(said)) == "does not fit into memory"


def test_a_failure_names_its_input_once(capsys):
    failures = Failures()
    failures.add("a.wav", InputError("a.wav: is empty"))
    failures.add("b.wav", InputError("is empty"))
    assert capsys.readouterr().err == "a.wav: is empty\nb.wav: is empty\n"
    assert (failures.count, failures.status) == (2, 1)


# --- options of decoding ---


def asked(**given):
    return argparse.Namespace(**{"decoder": None, "beam": None, "nbest": 1, "format": "json", **given})


def model(**decoder):
    return SimpleNamespace(decoder=decoder, alphabet=Alphabet(" ab"), path=Path("m.safetensors"))


GREEDY, BEAM = model(), model(decoder="beam", beam=4)
PYCTCDECODE = model(decoder="pyctcdecode", beam=4)


def test_what_was_not_asked_for_is_left_to_the_model():
    assert decoding.asked(asked(), GREEDY) == {}
    assert decoding.asked(asked(), BEAM) == {}


def test_a_beam_or_an_n_best_list_makes_a_greedy_model_search():
    assert decoding.asked(asked(beam=8), GREEDY) == {"decoder": "beam", "beam": 8}
    assert decoding.asked(asked(nbest=3), GREEDY) == {"decoder": "beam", "nbest": 3}
    assert decoding.asked(asked(nbest=20), GREEDY) == {"decoder": "beam", "nbest": 20, "beam": 20}
    assert decoding.asked(asked(nbest=3), BEAM) == {"nbest": 3}


@pytest.mark.parametrize("given", [{"nbest": 8}, {"nbest": 20}, {"decoder": "beam", "nbest": 8}])
def test_more_texts_than_the_models_own_beam_are_a_contradiction(given):
    with pytest.raises(UsageError, match="needs a beam of at least"):
        decoding.asked(asked(**given), BEAM)
    decoding.asked(asked(**given, beam=20), BEAM)


def test_what_the_models_own_decoder_does_not_know_is_a_contradiction(tmp_path):
    (tmp_path / "words").write_text("ab\n")
    for name in ("hotwords", "lexicon", "grammar"):
        given = {name: tmp_path / "words"}
        with pytest.raises(UsageError, match=f"pyctcdecode has no option {name}.*give --decoder"):
            decoding.asked(asked(**given), PYCTCDECODE)
        assert decoding.asked(asked(**given, decoder="beam"), PYCTCDECODE)[name] == tmp_path / "words"
    with pytest.raises(UsageError, match="needs a beam of at least 8"):
        decoding.asked(asked(nbest=8), PYCTCDECODE)


def test_a_model_that_contradicts_itself_is_told_once():
    for own in ({"beam": 8}, {"decoder": "magic"}, {"decoder": "beam", "symbol_threshold": "low"}):
        with pytest.raises(
            InputError, match=r"m\.safetensors: its settings of a decoder cannot be used"
        ) as error:
            decoding.asked(asked(), model(**own))
        assert not isinstance(error.value, UsageError)
        decoding.asked(asked(decoder="pyctcdecode"), model(**own))


@pytest.mark.parametrize("given", [{"decoder": "greedy", "beam": 8}, {"decoder": "greedy", "nbest": 2}])
def test_greedy_with_a_beam_is_a_contradiction(given):
    with pytest.raises(UsageError):
        decoding.asked(asked(**given))


def test_an_n_best_list_needs_a_format_that_holds_it():
    with pytest.raises(UsageError, match="json"):
        decoding.asked(asked(nbest=2, format="txt"))
