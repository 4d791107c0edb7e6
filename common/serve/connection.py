"""A connection of uvicorn's that waits for a request for so long only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from carousel.common.serve.guard import error_body


class Connection(H11Protocol):
    """uvicorn itself closes connections that are idle after a request, and waits for the first for ever."""

    idle = 10.0  # s
    cycle: Any  # none before the first request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(self.idle, self._give_up)

    def _give_up(self) -> None:
        upgraded = self.transport.get_protocol() is not self
        if self.cycle is not None or upgraded or self.transport.is_closing():
            return
        body = json.dumps(error_body(f"no request came within {self.idle:g} s", 408)).encode()
        head = (
            "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
