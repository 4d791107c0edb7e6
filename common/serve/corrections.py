"""What people have corrected, as a manifest to train on: kept only where the server was told a folder for
it, and only what they have sent to be kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from carousel.common.domain import Domain
from carousel.common.errors import InputError
from carousel.common.files import atomic_text, atomic_write
from carousel.common.serve import edited

MANIFEST = "corrections.jsonl"
KEYS = ("audio", "image", "strokes", "baseline", "polygon", "start", "end")  # that tell samples apart
MOST_ROWS = 1000  # of a request

_lock = Lock()


def add(app: FastAPI, folder: Path, domains: Sequence[Domain]) -> None:
    suffixes = {suffix for domain in domains if domain.key != "strokes" for suffix in domain.suffixes}

    @app.post("/v1/corrections")
    async def correct(request: Request) -> dict[str, Any]:
        """Keeps a file and its texts: "rows", JSON, of "text" and what tells the part of the file."""
        async with request.form(max_files=1, max_fields=2, max_part_size=16 << 20) as form:
            file, given = form.get("file"), form.get("rows")
            upload = (file.filename or "", await file.read()) if isinstance(file, UploadFile) else None
        rows = edited.parsed(str(given).encode()).get("rows")
        kind = "audio" if domains[0].key == "audio" else "image"
        added = await run_in_threadpool(keep, folder, rows, upload, kind, suffixes)
        return {"kept": added, "manifest": str(folder / MANIFEST)}


def keep(folder: Path, rows: Any, upload: tuple[str, bytes] | None, kind: str, suffixes: set[str]) -> int:
    """Adds rows to the manifest, in place of those of the same part of the same file, and their file.
    Raises InputError. Returns how many were added."""
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise InputError(f"rows: is not a list of 1 to {MOST_ROWS} corrections")
    checked = [_row(row) for row in rows]
    with _lock:
        folder.mkdir(parents=True, exist_ok=True)
        if upload is not None:
            name = _keep_file(folder, *upload, suffixes)
            checked = [{kind: name, **row} for row in checked]
        elif not all("strokes" in row for row in checked):
            raise InputError("the corrections have neither a file nor strokes")
        manifest = folder / MANIFEST
        lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else []
        new = {_part(row) for row in checked}
        old = [row for row in map(json.loads, filter(None, lines)) if _part(row) not in new]
        with atomic_text(manifest) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in [*old, *checked])
    return len(checked)


def _row(row: Any) -> dict[str, Any]:
    """The keys of a row that are kept, checked. Raises InputError."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        raise InputError("rows: a correction has no text")
    kept: dict[str, Any] = {"text": " ".join(row["text"].split())}
    for key in KEYS[2:]:
        value = row.get(key)
        if value is not None and not _numbers(value):
            raise InputError(f"rows: {key} is not of numbers")
        if value is not None:
            kept[key] = value
    return kept


def _numbers(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < 3 and all(_numbers(part, depth + 1) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _part(row: Mapping[str, Any]) -> str:
    return json.dumps([row.get(key) for key in KEYS])


def _keep_file(folder: Path, filename: str, data: bytes, suffixes: set[str]) -> str:
    """Its name in the folder: by what it holds, so that nothing the sender says is a path."""
    suffix = Path(filename).suffix.lower()
    if suffix not in suffixes:
        raise InputError(f"{filename}: a file of this name is not one to train on")
    path = folder / f"{hashlib.sha256(data).hexdigest()[:20]}{suffix}"
    if not path.is_file():
        with atomic_write(path) as partial:
            partial.write_bytes(data)
    return path.name
