"""Runs tasks in the threads that torch itself uses, its OpenMP team.

After each parallel product torch's OpenMP threads wait actively for the next, for milliseconds. Threads of
our own would share the cores with them; as a parallel region of the same team the tasks start at once, on
the threads that wait.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def run_all(tasks: Sequence[Callable[[], Any]]) -> None:
    """Calls all tasks, at most `torch.get_num_threads()` at once, and returns when all are done.

    Gains only with tasks that leave Python's lock. What a task raises is raised here, after the others.
    """
    threads = min(torch.get_num_threads(), len(tasks))
    if threads <= 1:
        for task in tasks:
            task()
        return
    waiting, failures = iter(tasks), []

    def work(_: Any = None) -> None:
        for task in waiting:  # one iterator for all threads: each takes the next task
            try:
                task()
            except BaseException as error:  # must not leave through C
                failures.append(error)

    region = _parallel_region()
    if region is not None:
        region(REGION(work), None, threads, 0)
    else:
        others = [_pool(threads - 1, os.getpid()).submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()
    if failures:
        raise failures[0]


@cache
def _parallel_region() -> Any:
    """`GOMP_parallel(function, data, threads, flags)` of the OpenMP that torch is linked with, be it GNU's,
    or LLVM's or Intel's, which have this entry too on Linux; None elsewhere."""
    if not torch.backends.openmp.is_available():
        return None
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:  # a name is looked up in what a library is linked with, too
        region = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    region.argtypes, region.restype = [REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return region


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads beside the caller's. A forked process needs its own."""
    return ThreadPoolExecutor(threads, "lstm")
