"""`asr serve` and `hwr serve`: a page to speak or write on, and an HTTP interface for programs."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from carousel import __version__
from carousel.common.cli import decoding, options
from carousel.common.cli.inputs import Input
from carousel.common.cli.program import Program
from carousel.common.cli.streams import note, show
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings torch, or is of the extra
    from carousel.common.domain import Transcript
    from carousel.common.model.file import Model
    from carousel.common.serve.engine import Site

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECTIONS = 256


def add(commands: options.Subparsers, program: Program) -> None:
    name = program.name
    parser = options.command_parser(
        commands,
        "serve",
        "open a page that reads, and an HTTP interface for programs (extra web)",
        f"""
        {name} serve                                   then open http://127.0.0.1:8000
        {name} serve --port 9000 --model runs/mine     beside the models that ship
        {name} serve --host 0.0.0.0                    for other machines too: there is no password
        {name} serve --corrections mine/               keep what is corrected on the page, to train on
        """,
    )
    parser.add_argument(
        "--host", default=LOOPBACK[0], help="address to listen at (default: 127.0.0.1, this machine)"
    )
    parser.add_argument(
        "--port", type=options.number(0, 65535, int), default=8000, help="default: 8000; 0: any free one"
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="M",
        help="a model file or the folder of a training run, taken before those that ship; may be given again",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the networks run (default: auto)",
    )
    parser.add_argument(
        "--precision", choices=options.PRECISIONS, default="auto", help="of matrix products (default: auto)"
    )
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="DIR",
        help="keep corrected files and texts here, as a manifest for `train`; only what is sent to be "
        "kept (default: nothing is kept)",
    )
    limit = partial(options.number, 1)
    parser.add_argument(
        "--max-mb", type=limit(10_000, int), default=25, metavar="N", help="largest upload (default: 25 MB)"
    )
    parser.add_argument(
        "--max-minutes", type=limit(), default=60.0, metavar="N", help="longest sound (default: 60)"
    )
    parser.add_argument(
        "--max-seconds",
        type=limit(),
        default=60.0,
        metavar="N",
        help="that a request may take, half of them for its upload (default: 60)",
    )
    parser.add_argument(
        "--max-requests",
        type=limit(10_000, int),
        default=64,
        metavar="N",
        help="uploads at once; more are refused with status 429 (default: 64)",
    )
    options.add_decoder_arguments(
        parser, ("none",), nbest=False
    )  # requests have nothing to do with each other
    parser.set_defaults(run=serve)


def serve(program: Program, args: argparse.Namespace) -> int:
    try:
        import uvicorn

        from carousel.common.serve.app import create_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("carousel"):
            raise
        raise UsageError(
            f"{program.name} serve needs the package {error.name}; install carousel-ctc[web]"
        ) from None
    sock = _socket(args.host, int(args.port))
    local = args.host in LOOPBACK
    app = create_app(site_of(program, args), local)
    host = f"[{args.host}]" if ":" in args.host else args.host
    show(f"{program.name} serve: http://{host}:{sock.getsockname()[1]} (Ctrl-C stops it)")
    if not local:
        note("others can reach this server, and it asks for no password")
    uvicorn.Server(config(app)).run([sock])
    return 0


def config(app: Any) -> Any:
    """The settings of uvicorn."""
    import uvicorn

    from carousel.common.serve.connection import Connection

    return uvicorn.Config(
        app, http=Connection, ws="websockets-sansio", ws_max_size=1 << 20, log_level="error",
        access_log=False, server_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=5,
    )  # fmt: skip


def site_of(program: Program, args: argparse.Namespace) -> Site:
    """What the server needs of a program. Raises InputError for models that cannot be used."""
    from carousel.common.decoding.rescoring import open_rescorer
    from carousel.common.model.catalogue import describe, find_model, open_model
    from carousel.common.model.names import model_files
    from carousel.common.serve.engine import Limits, Site

    def load(file: Path) -> Model:
        return open_model(str(file), program.models, program.names, args.device, None, args.precision)

    def asked(model: Model, nbest: int) -> dict[str, Any]:
        most = 1 if args.decoder == "greedy" else args.beam or nbest  # texts that this search can give
        wanted = {**vars(args), "nbest": min(nbest, most), "format": "json"}
        return decoding.asked(argparse.Namespace(**wanted), model)

    given = [describe(find_model(choice, program.models)) for choice in args.model]
    if foreign := [card for card in given if card["domain"] not in program.names]:
        raise InputError(
            f"{foreign[0]['file']}: is a model for {foreign[0]['domain']}, which {program.name} does not read"
        )
    shipped = sorted(map(describe, model_files(program.models)), key=lambda card: not card["default"])
    cards: dict[str, dict[str, Any]] = {}
    for card in given:
        if cards.setdefault(card["name"], card)["file"] != card["file"]:
            raise UsageError(f"--model: two models have the name {card['name']}, by which they are asked for")
    for card in shipped:
        cards.setdefault(card["name"], card)
    limits = Limits(args.max_mb, args.max_seconds, args.max_requests, minutes=args.max_minutes)
    return Site(
        program.name, __version__, program.domains, [*cards.values()], load, asked,
        {name: form.suffix or name for name, form in program.formats.items()},
        partial(_write, program),
        open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus),
        limits, args.corrections,
    )  # fmt: skip


def _write(
    program: Program, form: str, transcript: Transcript, name: str, model: str, upload: bytes
) -> str | bytes:
    """A transcript in a format. upload: its file, of which some formats show the picture."""
    path = cast(Path, upload) if upload else None  # what reads pictures takes their bytes as well
    item = Input(name, path, Path(name).stem)
    return program.formats[form].write(transcript, item, model)


def _socket(host: str, port: int) -> Any:
    """Listens already, so that a port that is taken is told before models are loaded."""
    import socket

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port}: cannot be listened at ({error.strerror}); give another --port"
        ) from None
    return sock
