"""`asr train` and what others have written: recipes, run folders and models, and going on from one's own."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from carousel.common.model import file as model_file
from tests.forked import asr
from tests.test_train_command import RECIPE, folder  # noqa: F401

NAMES = ["réc", "a(b)", "a=b", "it's", "2024", "with spaces", "a,b", "x{y}", "null", "sh'\\"]
SHORT = ("trainer.epochs=1", "trainer.validate_every=1", "network.hidden=8")


def asr_all(folder: Path, *commands: tuple[str, ...]) -> tuple[list[int], str]:  # noqa: F811
    """The exit status of each, and what they have said."""
    done = [asr(folder, *words) for words in commands]
    return [one.returncode for one in done], "".join(one.stderr for one in done)


def make(folder: Path, name: str, text: str = RECIPE) -> Path:  # noqa: F811
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder / name


def test_recipe_folders_may_have_any_name(folder: Path):  # noqa: F811
    for name in NAMES:
        make(folder, name)
    started = [("train", f"recipe={name}", *SHORT) for name in NAMES]
    resumed = [
        ("train", f"name={name}", "resume=true", "trainer.epochs=2") for name in NAMES if "," not in name
    ]
    statuses, said = asr_all(folder, *started, *resumed)
    assert set(statuses) == {0}, said
    for name in NAMES:
        run = folder / "runs" / name
        assert yaml.safe_load((run / "config.yaml").read_text())["name"] == name
        assert model_file.read_header(run / "best.safetensors")["card"]["name"] == name
        assert len((run / "metrics.csv").read_text().splitlines()) == (2 if "," in name else 3)


def test_a_run_goes_on_by_its_own_settings(folder: Path):  # noqa: F811
    first = ("train", "recipe=mine", *SHORT, "name=origin")
    given = ("network.layers=2", "optimizer=sgd", "+card.licence=mine", "augment=speech", "init=runs/origin")
    second = ("train", "recipe=mine", *SHORT, "name=on", *given)
    statuses, said = asr_all(folder, first, second)
    assert statuses == [0, 0], said
    shutil.rmtree(folder / "runs" / "origin")
    before = yaml.safe_load((folder / "runs" / "on" / "config.yaml").read_text())
    assert before["network"]["hidden"] == 8 and before["optimizer"]["kind"] == "sgd"
    for words in (
        ("train", "name=on", "resume=true", "trainer.epochs=2"),
        ("train", "hydra.run.dir=runs/on", "resume=true", "trainer.epochs=3"),
        ("train", "recipe=mine", "name=on", "resume=true", "trainer.epochs=4"),
        ("train", "recipe=mine", "name=on", *given, "resume=true", "trainer.epochs=5"),
        ("train", "name=on", "resume=true"),
    ):
        statuses, said = asr_all(folder, words)
        assert statuses == [0] and "resumed at epoch" in said, said
        after = yaml.safe_load((folder / "runs" / "on" / "config.yaml").read_text())
        before["trainer"]["epochs"] = after["trainer"]["epochs"]
        assert after | {"init": None} == before | {"resume": True, "init": None}
    assert after["trainer"]["epochs"] == 5
    assert len((folder / "runs" / "on" / "metrics.csv").read_text().splitlines()) == 6


def test_what_cannot_be_resumed_is_told(tmp_path: Path):
    for words, status, said in (
        (("name=nothing", "resume=true"), 1, "runs/nothing: there is no run to resume"),
        (("name=nothing",), 2, "train needs data=PATH of your own data, recipe=NAME"),
        (("resume=true",), 2, "there is no run in runs/"),
        (("data=",), 2, "data= needs the path of a folder or manifest"),
    ):
        done = asr(tmp_path, "train", *words)
        assert done.returncode == status and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


CALL = "{_target_: tests.oracles.none.Gone, command: 'touch called'}"


@pytest.mark.parametrize(
    "more",
    [
        f"hydra: {{callbacks: {{x: {CALL}}}}}",
        "hydra: {job_logging: {handlers: {file: {filename: called, class: logging.FileHandler}}}}",
        "card: {licence: '${oc.env:SECRET}'}",
        "card: {licence: '\\${oc.env:SECRET}'}",
    ],
)
def test_a_recipe_of_somebody_else_runs_and_reads_nothing(folder: Path, more: str):  # noqa: F811
    make(folder, "theirs", RECIPE + more + "\n")
    shutil.rmtree(folder / "runs" / "theirs", ignore_errors=True)
    statuses, said = asr_all(folder, ("train", "recipe=theirs", *SHORT))
    assert statuses == [2] and "theirs/recipe.yaml: " in said and "hush" not in said
    assert not (folder / "called").exists() and not (folder / "runs" / "theirs").exists()


def test_files_beside_a_recipe_are_never_read(folder: Path):  # noqa: F811
    theirs = make(folder, "beside")
    for path in ("base.yaml", "runs.yaml", "trainer/default.yaml", "hydra/job_logging/carousel.yaml"):
        (theirs / path).parent.mkdir(parents=True, exist_ok=True)
        (theirs / path).write_text(f"# @package _global_\nhydra: {{callbacks: {{x: {CALL}}}}}\n")
    statuses, said = asr_all(folder, ("train", "recipe=beside", *SHORT))
    assert statuses == [0] and (folder / "runs" / "beside" / "train.log").exists(), said


def test_the_settings_of_somebody_elses_run_and_model_are_data(folder: Path):  # noqa: F811
    statuses, said = asr_all(folder, ("train", "recipe=mine", *SHORT, "name=given"))
    assert statuses == [0], said
    run = folder / "runs" / "given"
    config = (run / "config.yaml").read_text()
    resume = ("train", "name=given", "resume=true", "trainer.epochs=2")
    for more in (f"hydra: {{callbacks: {{x: {CALL}}}}}\n", "own: ${oc.env:SECRET}\n", "own: ${seed}\n"):
        (run / "config.yaml").write_text(config + more)
        for words in (resume, (*resume, "recipe=mine")):
            statuses, said = asr_all(folder, words)
            assert statuses == [2] and "given/config.yaml: " in said and "hush" not in said, said
    with safe_open(run / "best.safetensors", "pt") as file:
        header = json.loads(file.metadata()["carousel"])
    for group, key in (("features", "window"), ("network", "cell")):
        changed = header | {group: header[group] | {key: "${oc.env:SECRET}"}}
        theirs = folder / "theirs.safetensors"
        save_file(load_file(run / "best.safetensors"), theirs, {"carousel": json.dumps(changed)})
        words = ("train", "recipe=mine", *SHORT, "name=after", f"init={theirs}")
        statuses, said = asr_all(folder, words)
        assert statuses == [2] and "cannot be used" in said and "hush" not in said, said
    assert not list((folder / "runs" / "after").glob("*.yaml"))


def test_network_and_features_come_along_with_init(folder: Path):  # noqa: F811
    own = ("network.layers=2", "features.filters=30", "features.hop=0.02")
    first = ("train", "recipe=mine", *SHORT, "name=small", *own)
    short = ("train", "recipe=mine", "trainer.epochs=1", "init=runs/small")
    statuses, said = asr_all(
        folder,
        first,
        (*short, "name=along"),
        (*short, "name=more", "network.layers=3"),
        (*short, "name=other", "network=conv2d"),
        (*short, "name=wide", "network.hidden=12", "features.filters=31"),
    )
    assert statuses == [0, 0, 0, 1, 1], said
    assert said.count("tensors fit, as that model has another network") == 2
    small, along, more = (
        model_file.read_header(folder / "runs" / n / "best.safetensors") for n in ("small", "along", "more")
    )
    assert along["network"] == small["network"] and along["features"] == small["features"]
    assert more["network"] == small["network"] | {"layers": 3}


def test_a_sweeper_gets_the_best_rate(folder: Path):  # noqa: F811
    (folder / "hydra_plugins").mkdir()
    (folder / "hydra_plugins" / "asker.py").write_text("""
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class Asker(Sweeper):
    def __init__(self, **settings):
        pass
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments):
        jobs = [[*arguments, "seed=1"], [*arguments, "seed=2", "data.valid=gone.jsonl"]]
        print([job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)])
""")
    asker = "++hydra.sweeper={_target_:hydra_plugins.asker.Asker}"
    done = asr(folder, "train", "recipe=mine", "-m", asker, "trainer.epochs=1", "network.hidden=8")
    (run,) = (folder / "runs" / "mine-sweep").glob("*seed=1*/best.safetensors")
    best = model_file.read_header(run)["card"]["valid"]["cer"]
    assert f"[{best}, inf]" in done.stdout and done.returncode == 1, done.stderr
    few = ("trainer.steps=4", "trainer.validate_every=2", "network.hidden=8", "trainer.rows=4")
    texts = ("data.train=tones/train.jsonl", "data.valid=tones/valid.jsonl")
    done = asr(folder, "train", "recipe=language", "-m", asker, *few, *texts)
    (run,) = (folder / "runs" / "language-sweep").rglob("last.safetensors")
    with safe_open(run, "pt") as file:
        best = json.loads(file.metadata()["carousel-training"])["state"]["best"]
    assert f"[{best}, inf]" in done.stdout, done.stderr
