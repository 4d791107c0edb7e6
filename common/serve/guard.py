"""What stands before every request: limits, who may ask, the headers of safety, and counting."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from carousel.common.errors import DEBUG, InputError, sentence
from carousel.common.serve.engine import Engine

LOG = logging.getLogger("uvicorn.error")  # to stderr, as uvicorn sets it up
LOCAL = ("localhost", "127.0.0.1", "[::1]")
DRAINED = 5.0  # s for which the rest of a refused upload is read, as a client that is cut off hears nothing
# nothing from elsewhere, nothing inline, in nobody's frame
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self)"),
    (b"cache-control", b"no-store"),
]


def error_body(message: str, status: int) -> dict[str, Any]:
    """As OpenAI's clients expect it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


class Guard:
    """ASGI around the whole application. local: whether only this machine may be asked for by name."""

    def __init__(self, app: Any, engine: Engine, local: bool) -> None:
        self.app, self.engine, self.local = app, engine, local
        self.limits = engine.site.limits
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds = 0.0
        self.busy = self.live = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 0
        works = scope["method"] == "POST"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        self.busy += works
        try:
            self._check(scope)
            if works and self.busy > self.limits.requests:
                raise HTTPException(429, f"{self.limits.requests} requests are being read; try again soon")
            await asyncio.wait_for(
                self.app(scope, self._limited(scope, receive), answer), self.limits.seconds if works else None
            )
        except Exception as error:
            code, said = _told(error, self.limits.seconds)
            if code == 500:
                LOG.error("%s", said, exc_info=bool(os.environ.get(DEBUG)))
            if not status:
                await self._drain(scope, receive)
                await _json(answer, code, said)
        finally:
            self.busy -= works
            route = scope.get("route")
            self.requests[(getattr(route, "path", "other"), status)] += 1
            self.seconds += time.perf_counter() - started

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The same body, refused where it is too large or comes too slowly."""
        size, end = 0, time.monotonic() + self.limits.seconds / 2

        async def limited() -> Message:
            nonlocal size
            if size < 0:  # all of it is here: what comes is that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0))
            except TimeoutError:
                raise HTTPException(
                    408, f"the upload took longer than {self.limits.seconds / 2:g} s; send it faster, or less"
                ) from None
            size += len(message.get("body", b""))
            if size > self.limits.megabytes << 20:
                await self._drain(scope, receive)
                raise HTTPException(413, self._too_large)
            if not message.get("more_body"):
                size = -1
            return message

        return limited

    @property
    def _too_large(self) -> str:
        return f"the upload is larger than {self.limits.megabytes} MB; cut or reduce it"

    def _check(self, scope: Scope) -> None:
        """Refuses what other sites' pages send, names of other machines, and what says it is too large."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.local and name not in LOCAL:
            raise HTTPException(403, "this server answers to localhost only; start it with --host for others")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise HTTPException(403, "pages of other sites may not ask this server")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self.limits.megabytes << 20:
            raise HTTPException(413, self._too_large)

    async def _drain(self, scope: Scope, receive: Receive) -> None:
        if any(name == b"expect" for name, _ in scope["headers"]):
            return  # it has sent nothing yet
        end = time.monotonic() + DRAINED
        try:
            while (await asyncio.wait_for(receive(), max(end - time.monotonic(), 0))).get("more_body"):
                pass
        except TimeoutError:
            pass

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
            if self.live >= self.limits.live:
                raise HTTPException(429, "too many recordings are live")
        except HTTPException:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        self.live += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.live -= 1

    def metrics(self) -> str:
        """Prometheus' text format."""
        engine = self.engine
        rows = [
            f'carousel_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        failed = sum(count for (_, status), count in self.requests.items() if status >= 400)
        single = (
            ("errors_total", "counter", "answers of status 400 and above", failed),
            ("request_seconds_total", "counter", "seconds from request to answer", round(self.seconds, 6)),
            ("sound_seconds_total", "counter", "seconds of sound that were read", round(engine.sound, 3)),
            ("inputs_total", "counter", "inputs that were read", engine.inputs),
            ("batches_total", "counter", "times that the network ran", engine.batches),
            ("busy", "gauge", "uploads at work", self.busy),
            ("live", "gauge", "live recordings", self.live),
        )
        lines = ["# HELP carousel_requests_total requests", "# TYPE carousel_requests_total counter", *rows]
        for name, kind, said, value in single:
            lines += [f"# HELP carousel_{name} {said}", f"# TYPE carousel_{name} {kind}"]
            lines.append(f"carousel_{name} {value}")
        return "\n".join(lines) + "\n"


def _told(error: Exception, seconds: float) -> tuple[int, str]:
    """Status and sentence of an exception."""
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, InputError):
        return 400, sentence(error)
    if isinstance(error, TimeoutError):
        return 503, f"reading took longer than {seconds:g} s; send less, or try again"
    return 500, sentence(error)


async def _json(send: Send, status: int, message: str) -> None:
    body = json.dumps(error_body(message, status), ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
