"""Tasks in torch's own threads."""

import sys
import threading

import pytest
import torch

from carousel.common.lstm.compiled_path import openmp


@pytest.fixture(params=["OpenMP", "pool"], autouse=True)
def way(request, monkeypatch):
    if request.param == "pool":
        monkeypatch.setattr(openmp, "_parallel_region", lambda: None)
    before = torch.get_num_threads()
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_every_task_runs_once(threads: int, number: int):
    torch.set_num_threads(threads)
    done: list[int] = []
    openmp.run_all([lambda i=i: done.append(i) for i in range(number)])
    assert sorted(done) == list(range(number))


def test_tasks_run_beside_each_other():
    torch.set_num_threads(2)
    both = threading.Barrier(2, timeout=20)  # breaks unless both have come
    openmp.run_all([both.wait, both.wait])


def test_one_thread_runs_them_in_their_order():
    torch.set_num_threads(1)
    done: list[int] = []
    openmp.run_all([lambda i=i: done.append(i) for i in range(5)])
    assert done == list(range(5))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_task_raises_is_raised(threads: int):
    torch.set_num_threads(threads)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        openmp.run_all([lambda: None, stop, lambda: None])


def stop() -> None:
    raise KeyboardInterrupt("stop")


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP libraries have GNU's entry on Linux only")
def test_torchs_openmp_is_found(way: str):
    if way == "OpenMP" and torch.backends.openmp.is_available():
        assert openmp._parallel_region() is not None
