"""Options of all commands: bounds of numbers, and what is said of those that do not exist."""

import argparse

import pytest

from carousel.asr.cli import PROGRAM as ASR
from carousel.common.cli.main import parser
from carousel.common.cli.options import number
from carousel.hwr.cli import PROGRAM as HWR


def subcommands(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


ALL = [
    (f"{whole.prog} {name}", sub)
    for whole in (parser(ASR), parser(HWR))
    for name, sub in subcommands(whole).items()
]


@pytest.mark.parametrize(("name", "parser"), ALL, ids=[name for name, _ in ALL])
def test_no_number_is_without_bounds(name, parser):
    assert not [action.dest for action in parser._actions if action.type in (int, float)]


@pytest.mark.parametrize("module", ["mnist_strings", "htr_lines", "language"])
def test_no_number_of_a_recipe_is_without_bounds(module, capsys):
    words = {
        "mnist_strings": ["corpus", "--seed", "-1"],
        "htr_lines": ["folder", "--valid", "1.5"],
        "language": ["text", "out", "--most", "0"],
    }[module]
    with pytest.raises(SystemExit) as stop:
        parser(HWR).parse_args(["prepare", module, *words])
    assert stop.value.code == 2 and words[-2] in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "lm a.txt --output b.arpa --order 0",
        "lm a.txt --output b.arpa --order 7",
        "lm a.txt --output b.arpa --order 2.5",
        "lm a.txt --output b.arpa --prune 0 -3",
        "lm a.txt --output b.arpa --vocabulary 0",
        "transcribe a.wav --beam 99999999999999999999",
        "transcribe a.wav --nbest -1",
        "transcribe a.wav --batch-frames 0",
        "transcribe a.wav --lm-weight -0.1",
        "transcribe a.wav --unknown 1",
        "transcribe a.wav --unlisted nan",
        "transcribe a.wav --bonus inf",
        "spot ONE a.wav --threshold 1.1",
    ],
)
def test_a_number_out_of_bounds_is_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as stop:
        parser(ASR).parse_args(words.split())
    err = capsys.readouterr().err
    assert stop.value.code == 2 and " is not a " in err and words.split()[-2].replace("0", "--prune") in err


def test_numbers_have_the_bounds_that_are_told():
    assert [number(1, 6, int)(text) for text in ("1", "6")] == [1, 6]
    for text in ("0", "7", "1.0", "1e400", "nan", "", "9" * 5000):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number of at least 1 and of at most 6"):
            number(1, 6, int)(text)
    assert isinstance(number(0, kind=int)("3"), int) and number(0)("2.5") == 2.5
    for text in ("-1", "inf", "nan", "1e400"):
        with pytest.raises(argparse.ArgumentTypeError, match="a number of at least 0"):
            number(0)(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("transcribe a.wav --beem 4", "--beem (did you mean --beam?)"),
        ("lm a.txt --output b --ordr=3", "--ordr=3 (did you mean --order?)"),
        ("models --quiet", "--quiet"),
        ("export a b c", " c"),
    ],
)
def test_an_unknown_option_is_told_with_the_usage_of_its_command(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        parser(ASR).parse_args(words.split())
    err = capsys.readouterr().err
    assert stop.value.code == 2 and said in err.splitlines()[-1]
    assert err.startswith(f"usage: asr {words.split()[0]} ")
