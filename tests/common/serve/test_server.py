"""The server of `asr serve` and `hwr serve`: its interfaces give what the command line gives, and its limits
hold."""

from __future__ import annotations

import io
import json
import shutil
import socket
import time
import wave
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for needed in ("fastapi", "uvicorn", "websockets", "multipart", "httpx"):
    pytest.importorskip(needed, reason=f"needs {needed}, of the extra web")

import httpx
import soundfile
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import carousel
from carousel.asr import cli as asr
from carousel.asr.domain import SPEECH
from carousel.common.cli import serve
from carousel.common.cli.main import parser
from carousel.common.data.manifest import read_manifest
from carousel.common.domain import read_data
from carousel.common.serve.connection import Connection
from carousel.hwr import cli as hwr
from carousel.hwr.domain import IMAGE, INK
from tests.common.serve.running import server

DIGITS = SPEECH.samples / "digits.wav"
MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
SAID = "THREE ONE FOUR NINE ZERO"
CLIENT = httpx.Client(timeout=60)  # making one takes longer than a request


def transcribe(address: str, data: bytes, name: str = "a.wav", **fields: Any) -> httpx.Response:
    url = f"{address}/v1/audio/transcriptions"
    return CLIENT.post(url, files={"file": (name, data)}, data={"model": "whisper-1", **fields})


def recognise(address: str, data: bytes, name: str = "a.png", **fields: Any) -> httpx.Response:
    return CLIENT.post(f"{address}/v1/recognise", files={"file": (name, data)}, data=fields)


def said(answer: httpx.Response) -> str:
    """The one sentence of a refusal."""
    message = answer.json()["error"]["message"]
    assert "Traceback" not in message and "\n" not in message and "bug" not in message
    return message


def parts(wave: np.ndarray, rate: int, count: int) -> list[bytes]:
    """Recordings of different lengths, out of one."""
    found = []
    for number in range(count):
        file = io.BytesIO()
        soundfile.write(file, wave[: len(wave) * (number + 2) // (count + 1)], rate, format="WAV")
        found.append(file.getvalue())
    return found


def test_openai_form(speech):
    data = DIGITS.read_bytes()
    assert transcribe(speech, data).json() == {"text": SAID}
    assert transcribe(speech, data, response_format="text").text == SAID + "\n"
    assert "00:00:00,180 -->" in transcribe(speech, data, response_format="srt").text
    assert transcribe(speech, data, response_format="vtt").text.startswith("WEBVTT")
    whole = transcribe(
        speech, data, response_format="verbose_json", **{"timestamp_granularities[]": ["word", "segment"]}
    ).json()
    words = carousel.load("speech").transcribe(DIGITS).words
    assert [(w["word"], w["start"], w["end"]) for w in whole["words"]] == [w[:3] for w in words]
    assert " ".join(segment["text"] for segment in whole["segments"]) == SAID
    assert "words" not in transcribe(speech, data, response_format="verbose_json").json()


def test_openai_client(speech):
    openai = pytest.importorskip("openai", reason="needs the package openai")
    client = openai.OpenAI(base_url=f"{speech}/v1", api_key="none", max_retries=0)
    with DIGITS.open("rb") as file:
        assert client.audio.transcriptions.create(model="whisper-1", file=file).text == SAID
    with DIGITS.open("rb") as file:
        found = client.audio.transcriptions.create(
            model="speech-en-commands",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
    assert [word.word for word in found.words] == SAID.split() and found.duration == pytest.approx(4.271)
    assert client.models.list().data[0].id == "speech-en-commands"
    with pytest.raises(openai.BadRequestError, match="cannot be read as audio"):
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"no sound"))


def test_fifty_at_once_give_what_single_ones_give(speech):
    wave, rate = soundfile.read(DIGITS)
    inputs = parts(wave, rate, 10) * 5
    reader = carousel.load("speech")
    alone = [reader.transcribe(data).text for data in inputs[:10]] * 5
    before = counts(speech)
    with ThreadPoolExecutor(50) as pool:
        answers = [*pool.map(lambda data: transcribe(speech, data), inputs)]
    assert [answer.status_code for answer in answers] == [200] * 50
    assert [answer.json()["text"] for answer in answers] == alone and len(set(alone)) > 3
    after = counts(speech)
    assert after["carousel_inputs_total"] - before["carousel_inputs_total"] == 50
    assert after["carousel_batches_total"] - before["carousel_batches_total"] < 50  # some went together


def counts(address: str) -> dict[str, float]:
    lines = CLIENT.get(f"{address}/metrics").text.splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if not line.startswith("#")}


def test_a_service_tells_of_itself(speech, hand):
    assert CLIENT.get(f"{speech}/health").json()["status"] == "ok"
    transcribe(speech, b"no sound")
    found = counts(speech)
    assert found['carousel_requests_total{path="/v1/audio/transcriptions",status="400"}'] >= 1
    assert found["carousel_errors_total"] >= 1 and found["carousel_sound_seconds_total"] > 0
    for address, own in ((speech, "/v1/audio/transcriptions"), (hand, "/v1/recognise")):
        document = CLIENT.get(f"{address}/openapi.json").json()
        assert document["openapi"].startswith("3.") and own in document["paths"]
        models = CLIENT.get(f"{address}/v1/models").json()["data"]
        assert CLIENT.get(f"{address}/v1/models/{models[0]['id']}").json() == models[0]
    assert CLIENT.get(f"{speech}/docs").status_code == 404  # whose scripts are from elsewhere
    assert transcribe(hand, b"x").status_code == 404


def test_the_page_may_load_nothing_from_elsewhere(speech):
    for name in ("", "page.js", "page.css"):
        answer = CLIENT.get(f"{speech}/{name}")
        assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
        assert (
            "http://" not in answer.text.replace("http://www.w3.org/", "") and "https://" not in answer.text
        )
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": "gone"}, "no model of the name gone"),
        ({"response_format": "docx"}, "docx"),
        ({"stream": "true"}, "not streamed"),
    ],
)
def test_what_cannot_be_asked_for(speech, fields, why):
    answer = transcribe(speech, DIGITS.read_bytes(), **fields)
    assert answer.status_code == 400 and why in said(answer)


def test_requests_that_make_no_sense(speech, hand):
    as_json, row = {"content-type": "application/json"}, '{"rows": [{"text": "A"}]}'
    word = {"text": "A", "start": 2.0, "end": "x"}
    posts: list[tuple[str, dict[str, Any], str]] = [
        (f"{speech}/v1/audio/transcriptions", {"data": {"model": "a"}}, "file"),
        (f"{speech}/v1/recognise", {"content": b"x"}, "no file"),
        (f"{speech}/v1/recognise", {"content": b"--x", "headers": MULTIPART}, ""),
        (f"{hand}/v1/recognise", {"content": b"{", "headers": as_json}, "not JSON"),
        (f"{hand}/v1/recognise", {"json": {"strokes": "no"}}, "strokes"),
        (f"{hand}/v1/recognise", {"json": {"strokes": [[0, 0, 9, 9]], "nbest": 999}}, "nbest"),
        (f"{hand}/v1/recognise", {"json": {"strokes": [[0, 0, 9, 9]], "layout": "book"}}, "layout"),
        (f"{hand}/v1/write", {"json": {"lines": [{"words": []}]}}, "lacks"),
        (f"{speech}/v1/write", {"json": {"words": [word], "duration": 2}}, "number"),
        (f"{speech}/v1/corrections", {"data": {"rows": "{}"}, "files": {"file": ("a.wav", b"x")}}, "rows"),
        (f"{speech}/v1/corrections", {"data": {"rows": row}, "files": {"file": ("../a.py", b"x")}}, "a.py"),
    ]  # fmt: skip
    for url, content, why in posts:
        answer = CLIENT.post(url, **content)
        assert answer.status_code == 400 and why in said(answer), url
    assert CLIENT.get(f"{speech}/v1/recognise").status_code == 405


def test_a_cut_recording_is_read_and_told(speech):
    data = DIGITS.read_bytes()
    whole = recognise(speech, data[: len(data) // 2], "cut.wav").json()
    assert whole["truncated"] and "truncated" in whole["notes"][0] and SAID.startswith(whole["text"])


# Limits


def test_too_large_an_upload_is_refused(speech):
    answer = transcribe(speech, bytes(100 << 20))
    assert answer.status_code == 413 and "larger than 2 MB" in said(answer)

    def chunks() -> Iterator[bytes]:  # no length is told
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield from [bytes(1 << 20)] * 4

    answer = CLIENT.post(f"{speech}/v1/recognise", content=chunks(), headers=MULTIPART)
    assert answer.status_code == 413 and "larger than 2 MB" in said(answer)


def test_an_hour_of_silence_in_few_bytes_is_refused(speech):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16000 * 600, np.int16), 16000, format="FLAC")
    assert len(file.getvalue()) < 1 << 20
    answer = transcribe(speech, file.getvalue(), "bomb.flac")
    assert answer.status_code == 400 and "longer than 2 minutes" in said(answer)


def test_a_picture_of_a_milliard_pixels_is_refused(hand):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (40_000).to_bytes(4, "big") * 2
    rows = zlib.compress(bytes(1 << 20), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0])) + chunk(b"IDAT", rows)
    answer = recognise(hand, bomb + chunk(b"IEND", b""))
    assert answer.status_code == 400 and "pixels" in said(answer)
    laughs = b'<?xml version="1.0"?><!DOCTYPE ink [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;">]><ink>&b;</ink>'
    assert recognise(hand, laughs, "a.inkml").status_code == 400


def began(place: tuple[str, int]) -> socket.socket:
    """A connection that has sent the beginning of an upload."""
    sock = socket.create_connection(place, 20)
    head = f"POST /v1/recognise HTTP/1.1\r\nhost: localhost\r\ncontent-type: {MULTIPART['content-type']}"
    sock.sendall(f"{head}\r\ncontent-length: 1000\r\n\r\n--x\r\n".encode())
    return sock


def until_busy(address: str, wanted: int) -> None:
    for _ in range(500):
        if counts(address)["carousel_busy"] == wanted:
            return
        time.sleep(0.02)
    raise AssertionError(f"never {wanted} at work")


def test_slow_clients_are_sent_away(monkeypatch):
    monkeypatch.setattr(Connection, "idle", 0.3)
    with server(asr.PROGRAM, "--max-seconds", "1") as address:
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        with socket.create_connection(place, 20) as slow:  # that says nothing
            assert b"408" in slow.recv(1000)
        with began(place) as slow:
            answer = b"".join(iter(lambda: slow.recv(10_000), b""))
        assert b" 408 " in answer and b"the upload took longer" in answer


def test_too_many_at_once_are_refused():
    with server(asr.PROGRAM, "--max-requests", "1", "--max-seconds", "20", "--decoder", "greedy") as address:
        with began(("127.0.0.1", int(address.rpartition(":")[2]))):
            until_busy(address, 1)
            answer = transcribe(address, DIGITS.read_bytes())
        assert answer.status_code == 429 and answer.headers["retry-after"] and "try again" in said(answer)
        until_busy(address, 0)
        found = recognise(address, DIGITS.read_bytes(), "a.wav", nbest=5).json()
        assert found["text"] == SAID and len(found["nbest"]) == 1  # all that a greedy search has


def test_other_sites_and_other_names_are_refused(speech):
    for headers in ({"origin": "http://elsewhere.example"}, {"host": "rebound.example"}):
        answer = CLIENT.get(f"{speech}/v1/models", headers=headers)
        assert answer.status_code == 403 and said(answer)
    assert CLIENT.get(f"{speech}/v1/models", headers={"origin": speech}).status_code == 200


# Live


def live(address: str, blocks: list[bytes], query: str = "") -> list[dict[str, Any]]:
    found = []
    with connect(address.replace("http", "ws") + "/v1/live" + query, origin=None) as socket:
        with suppress(ConnectionClosed):  # what cannot be used is told at once
            for block in blocks:
                socket.send(block)
            socket.send("end")
        for message in socket:
            found.append(json.loads(message))
    return found


def test_live_sound_grows_to_the_text_of_its_file(speech):
    with wave.open(str(DIGITS)) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    blocks = [pcm[i : i + 3200] for i in range(0, len(pcm), 3200)]
    *partial, final = live(speech, blocks, f"?sample_rate={rate}")
    assert final["type"] == "final" and final["text"] == SAID and final["activations"]
    assert partial and all(p["type"] == "partial" for p in partial)
    assert [p["duration"] for p in partial] == sorted(p["duration"] for p in partial)
    floats = np.frombuffer(pcm, "<i2").astype("<f4") / 32768
    assert live(speech, [floats.tobytes()], f"?sample_rate={rate}&format=float32")[-1]["text"] == SAID


@pytest.mark.parametrize(
    ("blocks", "query", "why"),
    [
        ([], "", "no sound came"),
        ([b"abc"], "", "within a sample"),
        ([bytes(2)], "", "to make out a sound"),
        ([np.full(9, np.nan, "<f4").tobytes()], "?format=float32", "finite"),
        ([b"ab"], "?format=mp3", "mp3"),
        ([b"ab"], "?sample_rate=1", "1 Hz"),
        ([bytes(8000 * 2 * 121 // 16)] * 16, "?sample_rate=8000", "longer than 2 minutes"),
    ],
)
def test_live_sound_that_is_none(speech, blocks, query, why):
    final = live(speech, blocks, query)[-1]
    assert final["type"] == "error" and why in final["message"]


def test_live_sound_from_another_site_is_refused(speech):
    with (
        pytest.raises(Exception, match="403"),
        connect(speech.replace("http", "ws") + "/v1/live", origin="http://elsewhere.example"),
    ):
        pass


# Pictures and ink


def test_pictures_and_ink_are_read_as_by_python(hand):
    picture, word = IMAGE.samples / "line.png", INK.samples / "word.json"
    found = recognise(hand, picture.read_bytes(), "line.png", activations="true").json()
    alone = carousel.load("lines").recognise(picture)
    assert found["text"] == alone.text and found["words"][0]["box"] == [
        round(x, 2) for x in alone.words[0].box
    ]
    width = Image.open(picture).width
    spikes = [(place[0], max(p, key=p.get)) for place, p in found["activations"] if p]
    assert "".join(s for _, s in spikes if s)[:1] == alone.text[:1]
    assert all(0 <= x <= width for x, _ in spikes) and spikes == sorted(spikes, key=lambda pair: pair[0])
    strokes = json.loads(word.read_text())["strokes"]
    found = CLIENT.post(
        f"{hand}/v1/recognise", json={"strokes": strokes, "nbest": 5, "activations": True}
    ).json()
    alone = carousel.load("ink").recognise(word, nbest=5)
    assert [row["text"] for row in found["nbest"]] == [reading.text for reading in alone.readings]
    assert found["domain"] == "ink" and found["activations"]


@pytest.mark.parametrize("form", ["alto", "page", "hocr", "pdf", "txt", "tsv"])
def test_a_picture_in_every_format(hand, form):
    answer = recognise(hand, (IMAGE.samples / "line.png").read_bytes(), "line.png", response_format=form)
    assert answer.status_code == 200 and answer.content
    if form in ("alto", "page"):
        assert answer.headers["content-type"] == "application/xml" and ElementTree.fromstring(answer.text)
    ink = CLIENT.post(
        f"{hand}/v1/recognise", json={"strokes": [[0, 0, 9, 9, 4, 20]], "response_format": form}
    )
    assert (ink.status_code == 200) == (form in ("txt", "tsv"))


def test_what_a_person_corrected_is_written_in_every_format(hand, speech):
    words = [
        {"text": "now here", "start": 0.5, "end": 1.5, "confidence": 1},
        {"text": "<is>", "start": 2, "end": 2.5},
    ]
    row: dict[str, Any] = {"file": "a.wav", "duration": 3.0, "words": words}
    texts = {
        form: CLIENT.post(f"{speech}/v1/write", json={**row, "response_format": form}).text
        for form in ("txt", "srt", "vtt", "ctm")
    }
    assert (
        texts["txt"] == "now here <is>\n" and "now here <is>" in texts["srt"] and "&lt;is&gt;" in texts["vtt"]
    )
    assert "a 1 1.000 0.500 here" in texts["ctm"]
    box, shape = (
        [10, 20, 90, 40],
        {"baseline": [[10, 35], [90, 35]], "polygon": [[10, 20], [90, 20], [90, 40]]},
    )
    lines = [{"words": [{"text": text, "box": box}], **shape} for text in ("first", "& second")]
    row = {"file": "p.png", "width": 100, "height": 80, "lines": lines}
    alto = CLIENT.post(f"{hand}/v1/write", json={**row, "response_format": "alto"}).text
    texts_of = [e.get("CONTENT") for e in ElementTree.fromstring(alto).iter() if e.tag.endswith("String")]
    assert texts_of == ["first", "&", "second"]
    assert CLIENT.post(f"{hand}/v1/write", json={**row, "response_format": "txt"}).text == "first\n& second\n"


# Corrections


def corrected(address: str, rows: list[dict[str, Any]], file: Path | None = None) -> Path:
    files = {} if file is None else {"file": ("my " + file.name, file.read_bytes())}
    fields = {"rows": json.dumps({"rows": rows})}
    files = files or {"none": ("", b"")}
    answer = CLIENT.post(f"{address}/v1/corrections", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    return Path(answer.json()["manifest"])


def test_corrections_are_a_manifest_to_train_on(speech, hand):
    corrected(speech, [{"text": "THREE ONE"}], DIGITS)
    manifest = corrected(speech, [{"text": "THREE  ONE FOUR"}], DIGITS)  # in place of the first
    (sample,) = read_manifest(manifest)
    assert sample.text == "THREE ONE FOUR" and sample.audio.read_bytes() == DIGITS.read_bytes()
    assert len(read_data(manifest.parent, [SPEECH])[1].rows) == 1
    line = {"baseline": [[0, 30], [90, 30]], "polygon": [[0, 0], [90, 0], [90, 40], [0, 40]]}
    corrected(hand, [{"text": "one", **line}, {"text": "two"}], IMAGE.samples / "line.png")
    manifest = corrected(hand, [{"text": "three", "strokes": [[0, 0, 1, 1]]}])
    samples = [*read_manifest(manifest)]
    one, two, three = samples[-3:]
    assert [s.text for s in (one, two, three)] == ["one", "two", "three"] and one.of_page
    assert len(three.strokes) == 1


def test_nothing_is_kept_without_being_asked(monkeypatch):
    rolled: list[Any] = []
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rolled.append)
    monkeypatch.setattr("tempfile.mkdtemp", lambda *args: pytest.fail("a folder was made"))
    with server(asr.PROGRAM) as address:
        padded = DIGITS.read_bytes() + bytes(3 << 20)  # more than what a form keeps in memory by itself
        assert transcribe(address, padded).json()["text"] == SAID
        assert CLIENT.post(f"{address}/v1/corrections").status_code == 404
    assert not rolled


def test_the_command_tells_what_it_needs(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert asr.main(["serve"]) == 2
    assert "install carousel-ctc[web]" in capsys.readouterr().err
    monkeypatch.undo()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert asr.main(["serve", "--port", port]) == 2
    assert "give another --port" in capsys.readouterr().err
    assert hwr.main(["serve", "--port", "0", "--model", str(SPEECH.models / "speech-en.safetensors")]) == 1
    assert "hwr does not read" in capsys.readouterr().err


def test_models_that_are_given_are_preferred(tmp_path):
    def names(*models: str) -> list[str]:
        options = [word for model in models for word in ("--model", model)]
        args = parser(asr.PROGRAM).parse_args(["serve", *options])
        return [card["name"] for card in serve.site_of(asr.PROGRAM, args).cards]

    assert names() == ["speech-en-commands", "speech-en"]
    assert names("speech-en") == ["speech-en", "speech-en-commands"]
    with pytest.raises(carousel.InputError, match="two models have the name speech-en"):
        names("speech-en", shutil.copy(SPEECH.models / "speech-en.safetensors", tmp_path))
