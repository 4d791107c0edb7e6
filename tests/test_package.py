"""Rules of the whole house: what may import what, what must not be written, what must be packed."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("api", "asr", "common", "hwr", "recipes")
SLOW = (
    "torch",
    "torchaudio",
    "librosa",
    "scipy",
    "numba",
    "matplotlib",
    "PIL",
    "hydra",
    "lightning_fabric",
    "numpy",
)
ABSENT = {
    "mlflow": "mlflow-skinny",
    "sounddevice": "sounddevice",
    "wandb": "wandb",
}  # of extras that are no part of dev
UNSAFE = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}  # may run what a file says
MAIN = "import sys; from carousel.{}.cli import main; sys.exit(main())"
# what recipes hold that do not read a corpus and train on it
SPECIAL_RECIPES = {
    "diagnostics": {"__main__.py", "tasks"},
    "lines_of_pages": {"evaluate.py"},
    "transducer": {"__main__.py"},
}
LARGEST = 20_000_000  # bytes of one tracked file


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the repository: those that git has, and those that it would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("needs a git clone")
    paths = sorted({REPOSITORY / name for name in done.stdout.split("\0") if name})
    return tuple(path for path in paths if path.is_file())


@cache
def modules(room: str) -> tuple[tuple[str, ast.Module], ...]:
    """(name of the file, its syntax tree) of each module of a room."""
    files = sorted((REPOSITORY / room).rglob("*.py"))
    assert files
    return tuple((str(f.relative_to(REPOSITORY)), ast.parse(f.read_text(encoding="utf-8"))) for f in files)


def name_of(requirement: str) -> str:
    """The normalised name in a requirement such as `Lightning_Fabric>=2.4`."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def imported(tree: ast.Module) -> Iterator[str]:
    """Full names of the modules that a file imports, at any depth in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_what_the_packages_import_is_what_they_ask_for():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(line) for line in project["dependencies"]]
    elsewhere = {name_of(line.name) for line in asked if line.marker and not line.marker.evaluate()}
    core = {name_of(line.name) for line in asked} - elsewhere
    extras = {
        name_of(line)
        for extra in ("onnx", "pdf", "recipes", "tensorboard", "web")
        for line in project["optional-dependencies"][extra]
    }
    roots = {name.split(".")[0] for room in ROOMS for _, tree in modules(room) for name in imported(tree)}
    roots -= elsewhere  # such as pyctcdecode, which is for older Pythons than this one
    installed = packages_distributions()
    used = {name_of(installed[root][0]) for root in roots - {"carousel", "__future__"} if root in installed}
    assert not roots - sys.stdlib_module_names - installed.keys() - {"carousel"} - ABSENT.keys()
    asked_for = {name_of(line) for lines in project["optional-dependencies"].values() for line in lines}
    assert asked_for >= set(ABSENT.values())
    assert not used - core - extras, "imported, but not asked for in pyproject.toml"
    assert not core - used, "asked for in pyproject.toml, but never imported"


@pytest.mark.parametrize("room", ROOMS)
def test_user_errors_are_never_asserts(room):
    assert not [
        f"{file}:{node.lineno}"
        for file, tree in modules(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_that_is_read_can_run_code(room):
    for file, tree in modules(room):
        assert not {name for name in imported(tree) if name.split(".")[0] in UNSAFE}, file
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            assert ast.unparse(call.func) not in {"torch.load", "yaml.load", "eval", "exec"}, (
                f"{file}:{call.lineno}"
            )
            unsafe = [k for k in call.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
            assert not unsafe, f"{file}:{call.lineno}"


@pytest.mark.parametrize("program", ["asr", "hwr"])
def test_help_loads_nothing_slow(program):
    code = (
        f"import sys, carousel.{program}.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        f"print('loaded:', *[name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert "transcribe" in done.stdout or "recognise" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_every_recipe_is_complete():
    folders = [
        path for path in (REPOSITORY / "recipes").iterdir() if path.is_dir() and not path.name.startswith("_")
    ]
    assert folders
    for folder in folders:
        needed = SPECIAL_RECIPES.get(folder.name, {"prepare.py", "recipe.yaml"}) | {
            "README.md",
            "__init__.py",
        }
        missing = needed - {path.name for path in folder.iterdir()}
        assert not missing, f"recipes/{folder.name} lacks {', '.join(sorted(missing))}"


def test_no_tracked_file_is_large():
    assert not [
        f"{path.relative_to(REPOSITORY)}: {size:,}"
        for path in tracked()
        if (size := path.stat().st_size) > LARGEST
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the sources alone, so that nothing that lies about gets in."""
    folder = tmp_path_factory.mktemp("sources")
    for path in tracked():
        name = path.relative_to(REPOSITORY)
        if name.parts[0] in (*ROOMS, "conf", "pyproject.toml", "README.md", "LICENSE"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(path.read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    done = subprocess.run([*build, str(folder)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    (found,) = (folder / "dist").glob("carousel_ctc-*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_packages_under_one_name(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = [path.relative_to(REPOSITORY) for path in tracked()]
    expected = {
        "carousel/" + path.as_posix().removeprefix("api/")
        for path in sources
        if path.parts[0] in (*ROOMS, "conf")
    }
    assert expected <= packed, sorted(expected - packed)
    assert {name.split("/")[0] for name in packed} == {
        "carousel",
        wheel.name.rpartition("-py3")[0] + ".dist-info",
    }


@pytest.mark.parametrize("program", ["asr", "hwr"])
def test_folders_with_the_names_of_ours_change_nothing(wheel, tmp_path, program):
    """A user's common/, recipes/ … in the working directory are not imported in place of ours."""
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    for name in (*ROOMS, "conf", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    for command in (
        [sys.executable, "-m", f"carousel.{program}.cli"],
        [sys.executable, "-c", MAIN.format(program)],
    ):
        done = subprocess.run(
            [*command, "models"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )
        assert (done.returncode, done.stderr) == (0, "") and "NAME" in done.stdout
