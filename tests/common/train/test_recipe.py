"""What a recipe, a run's config.yaml or a model file may say: data, whoever has written it."""

from pathlib import Path

import pytest

from carousel.common.errors import UsageError
from carousel.common.train.recipe import (
    RECIPE,
    check_data,
    find_recipe,
    overlaid,
    read_recipe,
    read_run,
    recipes,
)
from carousel.common.train.settings import top_level

PLAIN = "domain: speech\ndata: {train: a, valid: b}\n"
BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{k + 1}: &a{k + 1} {{<<: [{f'*a{k},' * 9}]}}\n" for k in range(9))
START = "defaults: [base, _self_]\n" + PLAIN


def recipe(folder: Path, text: str, name: str = "theirs") -> Path:
    (folder / name).mkdir()
    (folder / name / RECIPE).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", recipes())
def test_our_recipes_are_data(name: str):
    assert read_recipe(find_recipe(name))["name"] == name


@pytest.mark.parametrize(
    "text",
    [
        START + "fold: 1\nhydra: {run: {dir: 'runs/${name}-${fold}'}, sweep: {subdir: '${hydra.job.num}'}}\n",
        "defaults: [base, {override /features: mfcc}, {optional augment: speech}, {/optimizer: sgd}]\n"
        + PLAIN,
        START
        + "optimizer: {rate: 1e-3}\ncard: {price: '5 $ {net}', of: '${.price}', first: '${data.train[0]}'}\n",
    ],
)
def test_what_a_recipe_may_say(tmp_path: Path, text: str):
    assert read_recipe(recipe(tmp_path, text))["domain"] == "speech"


def test_numbers_are_read_as_hydra_reads_them(tmp_path: Path):
    assert read_recipe(recipe(tmp_path, START + "optimizer: {rate: 1e-3}\n"))["optimizer"]["rate"] == 0.001


@pytest.mark.parametrize(
    "hydra",
    [
        "{callbacks: {x: {_target_: os.system}}}",
        "{job_logging: {handlers: {file: {filename: x}}}}",
        "{hydra_logging: {root: {level: INFO}}}",
        "{launcher: {n_jobs: 2}}",
        "{sweeper: {max_batch_size: 2}}",
        "{searchpath: ['file:///tmp']}",
        "{job: {env_set: {A: b}}}",
        "{run: {dir: [x]}}",
        "{run: runs}",
        "{run: {dir: x, more: y}}",
        "{sweep: null}",
        "[run]",
        "'${x}'",
        "null",
    ],
)
def test_of_hydra_a_recipe_sets_folders_only(tmp_path: Path, hydra: str):
    with pytest.raises(UsageError, match=r"theirs/recipe.yaml: hydra may set hydra.run.dir, .* nothing else"):
        read_recipe(recipe(tmp_path, f"{START}hydra: {hydra}\n"))


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SECRET}",
        "${ oc.env:SECRET}",
        "a ${name} ${oc.env:SECRET,x}",
        r"\${oc.env:SECRET}",
        r"\\${oc.env:SECRET}",
        "${${r}:SECRET}",
        "${oc.${r}:SECRET}",
        "$${name}{oc.env:SECRET}",
        "${oc.decode:${x}}",
        "${oc.create:{a: 1}}",
        "${oc.select:x,1}",
        "${oc.dict.values:data}",
        "${hydra:runtime.cwd}",
        "${now:%Y}",
    ],
)
@pytest.mark.parametrize("place", ["card: {{text: '{}'}}", "card: {{texts: [1, ['{}']]}}", "own: '{}'"])
def test_a_recipe_refers_to_its_own_keys_only(tmp_path: Path, text: str, place: str):
    with pytest.raises(UsageError, match=r"cannot be used: settings from a file may refer to others"):
        read_recipe(recipe(tmp_path, START + place.format(text) + "\n"))


def test_a_reference_cannot_be_put_together_in_a_folder(tmp_path: Path):
    text = "a: $\nb: '{oc.env:SECRET}'\nhydra: {run: {dir: 'runs/${a}${b}'}}\n"
    with pytest.raises(UsageError, match=r"a=\$ cannot be used"):
        read_recipe(recipe(tmp_path, START + text))


@pytest.mark.parametrize(
    "text",
    [
        "optimizer: {_target_: os.system}",
        "network: {convolutions: [{_target_: os.system}]}",
        "own: {_partial_: true}",
        "own: {_args_: [x]}",
        "own: {'${oc.env:SECRET}': 1}",
        "own: {1: 2}",
    ],
)
def test_no_key_of_a_recipe_calls_anything(tmp_path: Path, text: str):
    with pytest.raises(UsageError, match=r"the key .* cannot be used, as settings are data"):
        read_recipe(recipe(tmp_path, f"{START}{text}\n"))


@pytest.mark.parametrize(
    "entry",
    [
        "/etc/passwd",
        "../../evil",
        "evil",
        "features/logmel",
        "features@hydra.callbacks: logmel",
        "features@_global_: logmel",
        "hydra/callbacks: evil",
        "override hydra/launcher: joblib",
        "override hydra/job_logging: carousel",
        "features: [logmel, ../evil]",
        "features: ../features/logmel",
        "features: evil",
        "features: '${x}'",
        "hydra: config",
        "file:///tmp/evil",
    ],
)
def test_the_defaults_of_a_recipe_are_ours(tmp_path: Path, entry: str):
    folder = recipe(tmp_path, f"defaults:\n  - base\n  - {entry}\n" + PLAIN)
    (folder / "features").mkdir()
    for name in ("evil", "features/evil", "hydra"):  # beside the recipe, where they were found once
        (folder / f"{name}.yaml").write_text("hydra: {callbacks: {}}\n")
    with pytest.raises(UsageError, match=r"defaults: .* is not a file of"):
        read_recipe(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: !!python/object/apply:os.system [ls]", "cannot be read as settings"),
        ("domain: ${speech", "cannot be read as settings"),
        ("domain: [speech", "cannot be read as settings"),
        ("---\na: 1\n---\nb: 2", "cannot be read as settings"),
        ("x: " + "[" * 3000 + "]" * 3000, "cannot be read as settings"),
        ("x: " + "9" * 5000, "cannot be read as settings"),
        ("x: !!binary aGVsbG8=", "x is a bytes"),
        ("- a", "must be keys with values"),
        ("", "must be keys with values"),
        ("defaults: {a: b}", "defaults must be a list"),
        ("h: &h {hydra: {callbacks: {}}}\n<<: *h", "hydra may set"),
        ("x: " + "[" * 30 + "]" * 30, "or 20 levels"),
        ("x: &x [*x]", "cannot be read as settings"),
        (BOMB, "20 references"),
        ("x: [" + "1," * 11_000 + "]", "more than 10,000 settings"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_told_at_once(tmp_path: Path, text: str, said: str):
    with pytest.raises(UsageError, match=said):
        read_recipe(recipe(tmp_path, text))


def test_the_settings_of_a_run_refer_to_nothing(tmp_path: Path):
    path = tmp_path / "config.yaml"
    whole = "".join(f"{key}: 1\n" for key in top_level())
    path.write_text(whole)
    assert read_run(tmp_path)["seed"] == 1
    for more, said in (
        ("own: '${seed}'", "cannot be used"),
        ("own: '${oc.env:SECRET}'", "cannot be used"),
        ("own: {_target_: x}", "settings are data"),
        ("hydra: {}", "hydra has no place"),
        ("defaults: [base]", "defaults has no place"),
    ):
        path.write_text(whole + more + "\n")
        with pytest.raises(UsageError, match=said):
            read_run(tmp_path)
    path.write_text("seed: 1\n")
    with pytest.raises(UsageError, match="lacks name, domain, data"):
        read_run(tmp_path)


def test_what_a_model_file_says_is_data():
    check_data("m.safetensors", {"network": {"hidden": 3, "block": [1, 2]}})
    for wrong in ({"kind": "${oc.env:SECRET}"}, {"kind": "${seed}"}, {"_target_": "os.system"}):
        with pytest.raises(UsageError, match=r"m\.safetensors: .* cannot be used"):
            check_data("m.safetensors", {"features": wrong})


def test_the_command_line_is_laid_over_settings():
    saved = {"a": 1, "group": {"x": 1, "y": {"z": 1}}, "gone": 3}
    composed = {"a": 2, "group": {"x": 5, "y": {"z": 7}, "w": 8}, "new": {"deep": 9}, "list": [1]}
    overrides = ["++group.y.z=7", "+group.w=8", "+new.deep=9", "~gone", "hydra.run.dir=x", "list=[1]"]
    found = overlaid(saved, composed, overrides)
    assert found == {"a": 1, "group": {"x": 1, "y": {"z": 7}, "w": 8}, "new": {"deep": 9}, "list": [1]}
    assert overlaid(saved, composed, ["group=other"])["group"] == composed["group"]
    assert saved["group"] == {"x": 1, "y": {"z": 1}}
