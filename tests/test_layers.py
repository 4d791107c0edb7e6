"""The house: packages stand on floors, imports point down, and only the command line prints or exits."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# From the top down; what stands on one line may not import each other. A package stands for all in it.
FLOORS = (
    ("recipes",),
    ("api",),
    ("asr", "hwr"),
    ("common.cli",),
    ("common.serve", "common.train"),
    ("common.explain", "common.report", "common.spotting"),
    ("common.recogniser",),
    ("common.domain", "common.plots"),
    ("common.decoding",),
    ("common.language",),
    ("common.model",),
    ("common.calibration", "common.network", "common.data"),
    ("common.ctc", "common.lstm"),
    ("common.text",),
    ("common.compiling", "common.html", "common.markup"),
    ("common.files", "common.hardware", "common.settings"),
    ("common.errors", "common.options"),
)
FLOOR_OF = {package: number for number, floor in enumerate(FLOORS) for package in floor}
FILES = sorted(
    file
    for folder in ("api", "asr", "hwr", "common", "recipes")
    for file in (REPOSITORY / folder).rglob("*.py")
)
SILENT = [file for file in FILES if file.relative_to(REPOSITORY).parts[:2] not in (("common", "cli"),)]


def name(file: Path) -> str:
    """The dotted name of a module, without `carousel`."""
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package(module: str) -> str:
    """The package of FLOORS that a module belongs to."""
    if REPOSITORY.joinpath("api", module + ".py").is_file():  # carousel.recogniser
        return "api"
    found = [known for known in FLOOR_OF if module == known or module.startswith(known + ".")]
    assert found or module in ("common", ""), f"{module} stands on no floor"
    return found[0] if found else "common"


def imported(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports, at its top or later, for its types or to run."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("carousel."):
            for alias in node.names:
                module = f"{node.module}.{alias.name}".removeprefix("carousel.")
                path = REPOSITORY.joinpath(*module.split("."))
                yield (
                    module
                    if path.with_suffix(".py").is_file() or path.is_dir()
                    else module.rpartition(".")[0]
                )
        elif isinstance(node, ast.Import):
            yield from (
                a.name.removeprefix("carousel.") for a in node.names if a.name.startswith("carousel.")
            )


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_point_down(file: Path) -> None:
    own = package(name(file))
    if own == "common":
        return
    for module in imported(file):
        other = package(module)
        assert other == own or FLOOR_OF[other] > FLOOR_OF[own], (
            f"{name(file)} imports {module}, which is above it"
        )


def test_no_circles() -> None:
    """Between modules, whether they import at their top or later."""
    arrows = {name(file): {m for m in imported(file) if m != name(file)} for file in FILES}
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(arrows.get(module, ())):
                walk(other, (*path, module))
            done.add(module)

    for module in arrows:
        walk(module, ())
