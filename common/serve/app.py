"""The server's addresses: the page, reading as OpenAI's clients ask for it and in our own form, and what is
asked of a service."""

from __future__ import annotations

import io
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import UploadFile as Part
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from carousel.common.errors import InputError, named, sentence
from carousel.common.serve import corrections, edited, live
from carousel.common.serve.engine import Engine, Reading, Site
from carousel.common.serve.guard import Guard, error_body

STATIC = Path(__file__).parent
PAGE = {"": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
MEDIA = {"json": "application/json", "xml": "application/xml", "pdf": "application/pdf", "vtt": "text/vtt"}
MOST_TEXTS = 50  # of an n-best list
LONGEST_NAME = 120  # characters of the name of a file that are told


def create_app(site: Site, local: bool = True) -> Guard:
    """The server as an ASGI application. local: only this machine may ask. Models are loaded when it starts.
    Raises InputError for models that cannot be used."""
    engine = Engine(site)
    engine.warm()

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        import asyncio

        task = asyncio.create_task(engine.run())
        yield
        task.cancel()

    # Its pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title=f"Carousel {site.name}", version=site.version, lifespan=working, docs_url=None, redoc_url=None
    )
    # An upload stays in memory, where its size is limited already.
    MultiPartParser.spool_max_size = max(MultiPartParser.spool_max_size, site.limits.megabytes << 20)
    _add_errors(app)
    guard = Guard(app, engine, local)
    _add_service(app, engine, guard)
    _add_reading(app, engine)
    if site.sound:
        _add_openai(app, engine)
        live.add(app, engine)
    return guard


def _add_errors(app: FastAPI) -> None:
    def invalid(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(error_body(sentence(error), 400), 400)

    def refused(request: Request, error: Exception) -> JSONResponse:
        status = getattr(error, "status_code", 500)
        said = {404: f"there is nothing at {request.url.path}", 405: "this address has no such method"}
        detail = str(getattr(error, "detail", error))
        plain = detail in ("Not Found", "Method Not Allowed")
        return JSONResponse(error_body(said[status] if plain else detail, status), status)

    def malformed(request: Request, error: Exception) -> JSONResponse:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        where = ".".join(map(str, first.get("loc", ())[1:]))
        return JSONResponse(
            error_body(f"{where or 'the request'}: {first.get('msg', 'is malformed')}", 400), 400
        )

    def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(error_body(sentence(error), 500), 500)

    app.add_exception_handler(InputError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(Exception, failed)


def _add_service(app: FastAPI, engine: Engine, guard: Guard) -> None:
    site = engine.site

    def file(name: str, media: str) -> None:
        @app.get(f"/{name}", include_in_schema=False)
        async def static() -> Response:
            return Response((STATIC / (name or "page.html")).read_bytes(), media_type=media)

    for name, media in PAGE.items():
        file(name, media)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server is at work."""
        return {"status": "ok", "program": site.name, "version": site.version}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Requests, errors and seconds, as Prometheus reads them."""
        return PlainTextResponse(guard.metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/site")
    async def about() -> dict[str, Any]:
        """What this server reads and writes, for the page."""
        limits = site.limits
        return {
            "program": site.name,
            "reads": [d.name for d in site.domains if any(c["domain"] == d.name for c in site.cards)],
            "formats": dict(site.formats),
            "limits": {"megabytes": limits.megabytes, "minutes": limits.minutes},
            "corrections": None if site.corrections is None else str(site.corrections),
        }

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The models that can be asked for."""
        return {"object": "list", "data": [_model(card) for card in site.cards]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        found = [card for card in site.cards if card["name"] == name]
        if not found:
            raise HTTPException(404, f"there is no model of the name {name} here")
        return _model(found[0])


def _model(card: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: card[key] for key in ("domain", "default", "description", "licence", "file")}
    told["file"] = Path(told["file"]).name
    return {"id": card["name"], "object": "model", "created": 0, "owned_by": "carousel", **told}


def _add_reading(app: FastAPI, engine: Engine) -> None:
    site = engine.site

    @app.post("/v1/recognise", openapi_extra=_body(site))
    async def recognise(request: Request) -> Response:
        """The text of a file or of pen strokes, with words in their places."""
        given, data, name = await _given(request)
        nbest, form = _count(given.get("nbest", 1)), str(given.get("response_format", "json"))
        _check_format(form, site)
        reading = await _read(
            engine, data, name,
            model=str(given.get("model") or ""),
            nbest=nbest,
            layout=_layout(given.get("layout")),
            activations=str(given.get("activations", "")).lower() in ("true", "1"),
        )  # fmt: skip
        text = site.write(form, reading.transcript, name, reading.model, data)
        if form == "json":
            more = {"notes": [*reading.notes], "activations": reading.activations}
            text = json.dumps(
                {**json.loads(text), **{k: v for k, v in more.items() if v}}, ensure_ascii=False
            )
        return Response(text, media_type=media_of(site.formats[form]))

    @app.post("/v1/write")
    async def write(request: Request) -> Response:
        """A transcript, as `/v1/recognise` gives it and a person has corrected it, in another format."""
        row = edited.parsed(await request.body())
        form = str(row.get("response_format", "txt"))
        _check_format(form, site)
        text = site.write(form, edited.transcript(row), edited.name_of(row), str(row.get("model", "")), b"")
        return Response(text, media_type=media_of(site.formats[form]))

    if site.corrections is not None:
        corrections.add(app, site.corrections, site.domains)


async def _given(request: Request) -> tuple[Mapping[str, Any], bytes, str]:
    """The fields of a request, the bytes of its file, and the file's name; strokes are JSON, which is a file
    of ink by itself."""
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await request.body()
        return edited.parsed(body), body, "strokes"
    async with request.form(max_files=1, max_fields=20) as form:
        file = form.get("file")
        if not isinstance(file, Part):
            raise InputError("the request has no file; send one as multipart/form-data, in the field file")
        return {k: v for k, v in form.items() if k != "file"}, await file.read(), short(file.filename)


async def _read(engine: Engine, data: bytes, name: str, **asked: Any) -> Reading:
    source = io.BytesIO(data)
    source.name = name  # for messages
    try:
        return await engine.read(source, **asked)
    except InputError as error:
        raise InputError(named(str(error), name)) from None


def _add_openai(app: FastAPI, engine: Engine) -> None:
    site = engine.site

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(
        file: Annotated[UploadFile, File()],
        model: Annotated[str, Form()] = "",
        response_format: Annotated[str, Form()] = "json",
        granularities: Annotated[list[str] | None, Form(alias="timestamp_granularities[]")] = None,
        stream: Annotated[bool, Form()] = False,
    ) -> Response:
        """What a recording says, asked for as OpenAI's clients do; language, prompt and temperature, which a
        CTC model does not take, are left out of account."""
        if stream:
            raise InputError(
                "a transcript is not streamed here; leave stream out, or use the WebSocket /v1/live"
            )
        data, name = await file.read(), short(file.filename)
        if response_format not in ("json", "verbose_json", "text", "srt", "vtt"):
            raise InputError(
                f"response_format {response_format}: is none of json, text, srt, vtt, verbose_json"
            )
        reading = await _read(engine, data, name, model=model)
        if response_format == "json":
            return JSONResponse({"text": reading.transcript.text})
        if response_format == "verbose_json":
            return JSONResponse(_verbose(site, reading, name, granularities or ["segment"]))
        form = {"text": "txt"}.get(response_format, response_format)
        text = site.write(form, reading.transcript, name, reading.model, data)
        return Response(text, media_type=media_of(form))


def _verbose(site: Site, reading: Reading, name: str, granularities: Sequence[str]) -> dict[str, Any]:
    found = reading.transcript
    whole: dict[str, Any] = {
        "task": "transcribe",
        "language": "unknown",  # no model tells it
        "duration": round(found.about["duration"], 3),
        "text": found.text,
        "segments": [],
    }
    # Segments are the cues of subtitles, which a format of the program has.
    lines = str(site.write("tsv", found, name, reading.model, b"")).splitlines()[1:]
    for number, line in enumerate(lines if "segment" in granularities else ()):
        start, end, text, confidence = line.split("\t")
        row = {"id": number, "seek": 0, "start": int(start) / 1000, "end": int(end) / 1000, "text": text}
        sure = round(math.log(max(float(confidence), 1e-4)) / max(len(text), 1), 4)  # of a letter
        whole["segments"].append(row | {"tokens": [], "temperature": 0.0, "avg_logprob": sure})
    if "word" in granularities:
        whole["words"] = [
            {"word": w.text, "start": w.start, "end": w.end, "confidence": round(w.confidence, 4)}
            for w in found.words
        ]
    return whole


def media_of(suffix: str) -> str:
    return MEDIA.get(suffix, "text/plain; charset=utf-8")


def short(name: str | None) -> str:
    """The name of an upload as it is told: no folders, one line."""
    return (
        " ".join((name or "").replace("\\", "/").rpartition("/")[2].split())[-LONGEST_NAME:] or "the upload"
    )


def _check_format(form: str, site: Site) -> None:
    if form not in site.formats:
        raise InputError(f"response_format {form}: is none of {', '.join(site.formats)}")


def _count(text: Any) -> int:
    if not str(text).isdecimal() or not 1 <= int(text) <= MOST_TEXTS:
        raise InputError(f"nbest {text}: is not a whole number from 1 to {MOST_TEXTS}")
    return int(text)


def _layout(value: Any) -> str | None:
    if value not in (None, "", "page", "line"):
        raise InputError(f'layout {value}: is neither "page" nor "line"')
    return value or None


def _body(site: Site) -> dict[str, Any]:
    """The body of /v1/recognise for the OpenAPI document."""
    fields: dict[str, Any] = {
        "model": {"type": "string"},
        "nbest": {"type": "integer", "minimum": 1, "maximum": MOST_TEXTS},
        "response_format": {"type": "string", "enum": [*site.formats]},
        "activations": {"type": "boolean"},
    }
    if not site.sound:
        fields["layout"] = {"type": "string", "enum": ["page", "line"]}
    upload = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}, **fields}}
    content: dict[str, Any] = {"multipart/form-data": {"schema": upload | {"required": ["file"]}}}
    if any(domain.key == "strokes" for domain in site.domains):
        point = {"type": "array", "items": {"type": "number"}}
        strokes = {"strokes": {"type": "array", "items": point, "description": "x0, y0, x1, y1, … each"}}
        content["application/json"] = {
            "schema": {"type": "object", "properties": {**strokes, **fields}, "required": ["strokes"]}
        }
    return {"requestBody": {"required": True, "content": content}}
