"""Boards of figures, by libraries that take their calls down; TensorBoard's own is in test_data.py."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from carousel.common.errors import InputError
from carousel.common.train.boards import open_boards

ROWS = [{"epoch": 1, "valid_cer": 0.5}, {"epoch": 2, "valid_cer": 0.25}]


def opened(folder: Path, *names: str) -> Any:
    return open_boards({"tensorboard": False, "loggers": list(names)}, {"name": "mine"}, folder, ROWS[:1])


def test_weights_and_biases_gets_the_settings_and_each_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    begun: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, float], int]] = []
    fake: Any = ModuleType("wandb")
    fake.init = lambda **given: (
        begun.append(given) or SimpleNamespace(log=lambda row, step: logged.append((row, step)))
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    add = opened(tmp_path, "wandb")
    add(ROWS[1])
    assert begun[0]["config"] == {"name": "mine"} and begun[0]["dir"] == str(tmp_path)
    assert logged == [(ROWS[0], 1), (ROWS[1], 2)], "a run that goes on is written anew"


def test_a_board_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(InputError, match=r"carousel-ctc\[mlflow\]"):
        opened(tmp_path, "mlflow")


def test_mlflow_keeps_settings_and_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("mlflow.tracking", reason="needs the extra `mlflow`")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    opened(tmp_path, "mlflow")(ROWS[1])
    client = MlflowClient(f"sqlite:///{tmp_path / 'm.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("carousel").experiment_id])
    assert run.data.params["name"] == "mine"
    assert [m.value for m in client.get_metric_history(run.info.run_id, "valid_cer")] == [0.5, 0.25]
