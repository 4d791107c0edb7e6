"""Completion in shells, and the manual page."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from carousel.asr.cli import PROGRAM
from carousel.asr.cli import main as asr
from carousel.common.cli import shell
from carousel.common.cli.main import parser
from carousel.hwr.cli import main as hwr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["trans"], ["transcribe"]),
        (["transcribe", "--preci"], ["--precision"]),
        (["transcribe", "--precision", ""], ["auto", "fp32", "bf16"]),
        (["transcribe", "a.wav", "--model", "speech-en-c"], ["speech-en-commands"]),
        (["transcribe", "a"], []),  # a file
        (["completion", ""], ["--help", "bash", "zsh", "fish"]),
        (["prepare", "an"], ["an4"]),
        (["train", "recipe=an"], ["recipe=an4"]),
        (["train", "recipe", "=", "an"], ["an4"]),  # as bash parts it
        (["train", "init", "=", "speech-en-c"], ["speech-en-commands"]),
    ],
)
def test_what_may_stand_at_the_cursor_is_told(words, found, capsys):
    assert asr(["complete", "--", *words]) == 0
    assert capsys.readouterr().out.splitlines() == found


def test_bash_completes(tmp_path: Path) -> None:
    (tmp_path / "asr").write_text(f'#!/bin/sh\nexec {sys.executable} -m carousel.asr.cli "$@"\n')
    (tmp_path / "asr").chmod(0o755)
    script = f"""PATH={tmp_path}:$PATH; eval "$(asr completion bash)"
    COMP_WORDS=(asr spot --prec); COMP_CWORD=2; _asr; echo "${{COMPREPLY[@]}}"
    COMP_WORDS=(asr train recipe = an); COMP_CWORD=4; _asr; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("--precision\nan4\n", "")


@pytest.mark.parametrize(("name", "check"), [("zsh", "-n"), ("fish", "--no-execute")])
def test_scripts_are_those_of_their_shells(name: str, check: str, tmp_path: Path, capsys) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    assert asr(["completion", name]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    assert subprocess.run([name, check, tmp_path / "script"], timeout=60).returncode == 0


def test_the_manual_has_every_command_and_option(capsys) -> None:
    for command in (asr, hwr):
        assert command(["man"]) == 0
    page = shell.manual(parser(PROGRAM))
    assert capsys.readouterr().out.startswith(page)
    whole = parser(PROGRAM)
    for name, command in shell._commands(whole).items():
        assert f".SH asr {name}\n" in page
        for option in command._option_string_actions:
            assert option.replace("-", "\\-") in page
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-k", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0 and done.stderr == ""
