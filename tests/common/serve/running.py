"""A server at work in this process, reached as over the net."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from carousel.common.cli import serve
from carousel.common.cli.main import parser
from carousel.common.cli.program import Program
from carousel.common.serve.app import create_app


@contextmanager
def server(program: Program, *options: str) -> Iterator[str]:
    """The address of a server in this process, with connections as over the net."""
    args = parser(program).parse_args(["serve", "--device", "cpu", *options])
    sock = serve._socket("127.0.0.1", 0)
    running = uvicorn.Server(serve.config(create_app(serve.site_of(program, args))))
    thread = threading.Thread(target=running.run, args=([sock],), daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
