"""Commands in processes of their own, forked from one that has loaded what takes seconds to load."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SERVER = """
import json, os, sys, tempfile
from pathlib import Path
import jinja2, matplotlib.figure, scipy.optimize, soundfile
import carousel.common.cli.train, carousel.common.train.finish, carousel.recipes
from carousel.asr.cli import main
from carousel.common.train.loop import train
from tests.common import toy

with tempfile.TemporaryDirectory() as place:  # loads what is compiled
    train(toy.settings(Path(place), epochs=1), toy.read, toy.size, Path(place, "run"))

def run(job):
    os.chdir(job["folder"])
    for number, name in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        return main(job["words"])
    except SystemExit as stop:
        return stop.code or 0

for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    status = 1
    try:
        status = run(json.loads(line))
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
"""


@cache
def _server() -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent.parent)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SECRET": "hush", "PYTHONPATH": tests}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.kill)
    return server


def asr(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`asr` with these words in this folder, as subprocess.run gives it; $SECRET is `hush`."""
    server = _server()
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("has no pipes")
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        job = {"folder": str(folder), "words": words, "out": str(out), "err": str(err)}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(words, status, out.read_text(), err.read_text())
