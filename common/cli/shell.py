"""`completion` and `man`: what `--help` says, for shells and for `man`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from carousel.common.cli import options
from carousel.common.cli.failures import DONE
from carousel.common.cli.program import Program

COMPLETE = "complete"  # the command that the scripts call; no --help lists it
SCRIPTS = {
    "bash": """_{0}() {{
    local IFS=$'\\n'
    COMPREPLY=($({0} complete -- "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null))
}}
complete -o default -o bashdefault -F _{0} {0}
""",
    "zsh": """#compdef {0}
_{0}() {{
    local -a found
    found=("${{(@f)$({0} complete -- "${{(@)words[2,CURRENT]}}" 2>/dev/null)}}")
    [[ -n $found ]] && compadd -Q -- $found || _files
}}
compdef _{0} {0}
""",
    "fish": """complete -c {0} -a '({0} complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def add(commands: options.Subparsers, program: Program, whole: argparse.ArgumentParser) -> None:
    name = program.name
    parser = options.command_parser(
        commands,
        "completion",
        "print a script by which a shell completes commands, options and names",
        f"""
        {name} completion bash >> ~/.bashrc
        {name} completion zsh > "${{fpath[1]}}/_{name}"
        {name} completion fish > ~/.config/fish/completions/{name}.fish
        """,
    )
    parser.add_argument("shell", choices=SCRIPTS)
    parser.set_defaults(run=lambda program, args: _print(SCRIPTS[args.shell].format(program.name)))
    parser = options.command_parser(
        commands,
        "man",
        "print the manual page",
        f"{name} man > ~/.local/share/man/man1/{name}.1",
    )
    parser.set_defaults(run=lambda program, args: _print(manual(whole)))


def _print(text: str) -> int:
    sys.stdout.write(text)
    return DONE


def complete(program: Program, whole: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Prints what may stand in place of the last word, one a line; nothing where files may."""
    joined = re.sub(r" ?= ?", "=", " ".join(words)).split(" ") if "=" in words else list(words)
    *before, last = joined or [""]
    found = [word for word in _candidates(program, whole, before) if word.startswith(last)]
    if "=" in words:  # bash parts words at it, and wants what follows alone
        found = [word.rpartition("=")[2] for word in found]
    return _print("".join(word + "\n" for word in found))


def _candidates(program: Program, whole: argparse.ArgumentParser, before: Sequence[str]) -> Iterator[str]:
    parser = whole
    for word in before:
        parser = _commands(parser).get(word, parser)
    given = before[-1:] and parser._option_string_actions.get(before[-1])
    if given and given.nargs != 0:
        yield from map(str, given.choices or _names(program, given.dest))
        return
    yield from _commands(parser)
    yield from (option for option in parser._option_string_actions if option.startswith("--"))
    if parser.prog == f"{program.name} train":
        from carousel.common.train.recipe import recipes

        yield from ("data=", "init=", "resume=true", "trainer.minutes=", "seed=", "name=")
        yield from (f"recipe={name}" for name in recipes(program.names))
        yield from (f"init={name}" for name in _names(program, "model"))
    elif not _commands(parser):
        yield from (str(c) for action in parser._get_positional_actions() for c in action.choices or ())


def _names(program: Program, option: str) -> list[str]:
    """The models that ship, for --model."""
    from carousel.common.model.names import model_files

    folders = {domain.models for domain in program.domains} if option == "model" else ()
    return [path.stem for folder in folders for path in model_files(folder)]


def _commands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    found = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(next(found, {}) or {})


def manual(whole: argparse.ArgumentParser) -> str:
    """The page in roff, with a section for each command."""
    version = next(a.version for a in whole._actions if isinstance(a, argparse._VersionAction))
    lines = [f'.TH {whole.prog.upper()} 1 "" "{version}"', ".SH NAME"]
    lines += [f"{whole.prog} \\- {_roff(whole.description)}", ".SH SYNOPSIS"]
    lines += [f".B {whole.prog}\n.I COMMAND\n[options]", ".SH DESCRIPTION", _roff(whole.epilog)]
    for name, parser in _commands(whole).items():
        lines += [f".SH {whole.prog} {name}", _roff(parser.description)]
        for action in parser._actions:
            if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
                continue
            shown = parser._get_formatter()._format_action_invocation(action)
            lines += [".TP", f"\\fB{_roff(shown)}\\fR", _roff(_help(parser, action))]
        if parser.epilog:
            lines += [".PP", ".nf", _roff(parser.epilog), ".fi"]
    return "\n".join(lines) + "\n"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _roff(text: str | None) -> str:
    """Text in which nothing is a command of roff."""
    escaped = (text or "").replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)
