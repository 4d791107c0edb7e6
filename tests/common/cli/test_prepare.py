"""`asr prepare` and `hwr prepare`: which recipes there are, their help, and what is wrong usage."""

import subprocess
import sys

import pytest

from carousel.asr.cli import main as asr
from carousel.common.cli import prepare
from carousel.common.train.recipe import recipes
from carousel.hwr.cli import main as hwr
from carousel.recipes import average
from carousel.recipes.an4 import prepare as an4


def helped(capsys, main, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", *words])
    assert not stop.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(("main", "domains"), [(asr, ["speech"]), (hwr, ["image", "ink"])])
def test_help_lists_the_recipes_of_the_program(main, domains, capsys):
    told = helped(capsys, main, "--help")
    assert {name for name in recipes() if f"\n    {name} " in told or f"\n    {name}\n" in told} == set(
        recipes(domains)
    )
    assert "language" in told and ("an4" in told) == (main is asr)


def test_help_imports_no_recipe():
    code = (
        "import sys; from carousel.asr.cli import main\n"
        "try: main(['prepare', '--help'])\n"
        "except SystemExit: print(*[name for name in sys.modules if 'recipes.' in name or name == 'numpy'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_help_of_a_recipe_is_its_docstring_and_options(capsys):
    told = helped(capsys, asr, "an4", "--help")
    assert (an4.__doc__ or "none").strip() in told
    assert "CORPUS [OUTPUT]" in told and "data/an4" in told
    assert "--fold SPEAKER" in helped(capsys, asr, "fsdd", "--help")
    told = helped(capsys, hwr, "htr_lines", "--help")
    assert "FOLDER [FOLDER ...]" in told and "--output" in told and "[OUTPUT]" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["htr_lines", "folder"], "invalid choice: 'htr_lines'"),
        (["an4"], "arguments are required: CORPUS"),
        (["an4", "a", "b", "--fold", "x"], "unrecognized arguments: --fold x"),
        (["fsdd", "a", "--foldd", "x"], "did you mean --fold?"),
        (["voa", "a"], "arguments are required: --sound"),
        ([], "arguments are required: NAME"),
    ],
)
def test_wrong_usage(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        asr(["prepare", *words])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_a_corpus_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert asr(["prepare", "an4", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"asr: {tmp_path / 'none'}") and "is missing" in err and err.count("\n") == 1


def test_a_command_of_its_own_has_help(capsys):
    with pytest.raises(SystemExit) as stop:
        prepare.run(average, ["--help"])
    told = capsys.readouterr().out
    assert not stop.value.code and "usage: python -m carousel.recipes.average" in told and "OUTPUT" in told
