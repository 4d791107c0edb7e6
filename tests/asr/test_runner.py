"""`asr` among processes, terminals and odd files: interrupts, closed streams, FIFOs, and mistakes of ours."""
# ruff: noqa: F811 (fixtures of test_cli)

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import time

import pytest

import carousel.asr.sound.read
from tests.asr.test_cli import COMMAND, model, recordings, run  # noqa: F401
from tests.tiny import ship, tiny_model


def begin(*words, **streams) -> subprocess.Popen:
    """The command in a process group of its own, not deaf to SIGINT as what a shell has in the background."""
    streams = {"stdin": -1, "stdout": -1, "stderr": -1, "process_group": 0} | streams
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **streams,
    )


ONE_BY_ONE = ("--batch-frames", "1")  # no waiting for a batch

# A recorder: writes half of a file, and the rest when it is interrupted.
RECORDER = """
import signal, sys
data = open(sys.argv[1], "rb").read()
signal.signal(signal.SIGINT, lambda *_: (sys.stdout.buffer.write(data[20000:]), sys.exit()))
sys.stdout.buffer.write(data[:20000])
sys.stdout.flush()
print("half", file=sys.stderr, flush=True)
signal.pause()
"""


def test_an_interrupt_is_quiet_and_what_was_done_before_is_out(model, recordings):
    os.mkfifo(recordings.parent / "fifo")  # nobody writes to it
    words = ["transcribe", recordings / "a.wav", recordings.parent / "fifo", *ONE_BY_ONE, "--model", model]
    process = begin(*words)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith(os.fsencode(recordings / "a.wav") + b"\t")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_ends_the_recorder_before_us_and_its_recording_is_read(early, model, recordings, capsys):
    """early: before our models are loaded. Ctrl-C goes to all of a pipe, which is a process group."""
    text = run(capsys, "transcribe", recordings / "a.wav", "--model", model)[1]
    call = [sys.executable, "-c", RECORDER, str(recordings / "a.wav")]
    recorder = subprocess.Popen(call, stdout=-1, stderr=-1, process_group=0)
    inputs = ["-"] if early else [recordings / "b.flac", "-"]
    process = begin(
        "transcribe",
        *inputs,
        *ONE_BY_ONE,
        "--model",
        model,
        stdin=recorder.stdout,
        process_group=recorder.pid,
    )
    assert recorder.stdout and recorder.stderr and process.stdout and process.stderr
    recorder.stderr.readline()
    while fcntl.ioctl(recorder.stdout, termios.FIONREAD, b"0000") != b"\0" * 4:
        time.sleep(0.01)  # until what is written has been read
    recorder.stdout.close()
    if not early:
        process.stdout.readline()  # so all is loaded, and it waits for the recording
    os.killpg(recorder.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.decode()) == (0, text if early else f"-\t{text}")
    assert b"standard input is read to its end" in err and err.count(b"\n") == 1


def test_the_second_interrupt_ends_the_reading_of_standard_input(model, recordings):
    process = begin("transcribe", recordings / "a.wav", "-", *ONE_BY_ONE, "--model", model)
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


# --- closed streams ---


def shell(line: str, *words) -> tuple[int, str, str]:
    """A line of sh in which "$@" is the command with these words."""
    call = ["sh", "-c", line, "sh", *COMMAND, *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "status", "printed", "said"),
    [
        ('"$@" - <&-', 1, True, "standard input: is closed"),
        ('"$@" >&-', 1, False, "standard output is closed"),
        ('"$@" 2>&-', 1, True, ""),
        ('"$@" 2>/dev/full', 1, True, ""),
        ('"$@" <&- >&- 2>&-', 1, False, ""),
    ],
)
def test_a_closed_stream_is_one_sentence(line, status, printed, said, model, recordings):
    """Among the inputs is one that is missing, so that there is something to say."""
    missing = [] if "- <&-" in line else [recordings / "missing.wav"]
    found = shell(line, "transcribe", "--model", model, recordings / "a.wav", *missing)
    assert (found[0], bool(found[1])) == (status, printed)
    assert found[2].startswith(said) or f"asr: {said}" in found[2]
    assert found[2].count("\n") == bool(said)


def test_closed_streams_that_nobody_needs_do_no_harm(model, recordings, tmp_path):
    line = '"$@" <&- >&- 2>&-'
    out = tmp_path / "out"
    words = ("transcribe", recordings / "a.wav", "--model", model, "--output", out, "--format", "json")
    assert shell(line, *words)[0] == 0
    assert json.loads((out / "a.json").read_text())["duration"] == 1.0  # and nothing else was written there


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["transcribe", "models", "demo"])
def test_a_full_disk_behind_standard_output_is_status_1(command, model, recordings, tmp_path):
    words = {
        "transcribe": [recordings / "a.wav", "--model", model],
        "models": [],
        "demo": ["--model", model, "--output", tmp_path],
    }[command]
    status, _, err = shell('"$@" >/dev/full', command, *words)
    assert status == 1 and "no space left on device" in err and "Traceback" not in err
    status, _, err = shell('"$@" >&-', command, *words)
    assert status == 1 and "standard output" in err and "Traceback" not in err


# --- what is no file ---


def test_a_folder_with_what_is_no_file_is_read_without_it(model, recordings, capsys):
    """A FIFO that nobody writes to, a socket, and links to a device, to itself and around in a circle."""
    os.mkfifo(recordings / "fifo.wav")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(recordings / "s.wav"))
    (recordings / "zero.wav").symlink_to("/dev/zero")
    (recordings / "round").symlink_to(recordings)
    status, out, err = run(capsys, "transcribe", recordings, "--model", model)
    listener.close()
    assert (status, err) == (0, "") and len(out.splitlines()) == 3
    (recordings / "loop.wav").symlink_to("loop.wav")
    status, out, err = run(capsys, "transcribe", recordings, "--model", model)
    assert status == 1 and len(out.splitlines()) == 3 and err.startswith(str(recordings / "loop.wav"))


def test_names_that_no_file_can_have_are_told_and_the_others_are_done(model, recordings, tmp_path, capsys):
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    longest = tmp_path / ("n" * 245 + ".wav")
    longest.write_bytes((recordings / "a.wav").read_bytes())
    inputs = [tmp_path / ("n" * 300 + ".wav"), tmp_path / "loop.wav", longest]
    words = ("transcribe", *inputs, "--model", model, "--output", tmp_path / "out", "--format", "json")
    status, _, err = run(capsys, *words)
    assert (status, err.count("\n")) == (1, 3) and "× real time" in err.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["n" * 245 + ".json"]


def test_dev_stdin_is_standard_input(model, recordings, capsys):
    text = run(capsys, "transcribe", recordings / "a.wav", "--model", model)[1]
    found = shell('cat "$0" | "$@"'.replace("$0", str(recordings / "a.wav")), "transcribe", "/dev/stdin",
                  "--model", model)  # fmt: skip
    assert found == (0, text, "")


def test_file_names_have_no_power_over_a_terminal_and_are_as_they_are_in_a_pipe(model, recordings, tmp_path):
    """Also in what is said of them, and in the tables of evaluate."""
    evil = tmp_path / "a\x1b]0;PWNED\x07.wav"
    evil.write_bytes((recordings / "a.wav").read_bytes())
    words = ["transcribe", evil, recordings / "b.flac", tmp_path / "\x1b[2J.wav", "--model", model]
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True)
    assert str(evil) in done.stdout and "\x1b" not in done.stderr and r"\x1b[2J.wav: " in done.stderr
    terminal, slave = os.openpty()
    subprocess.run([*COMMAND, *map(str, words)], stdout=slave, stderr=subprocess.DEVNULL)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(slave)
    os.close(terminal)
    assert "\x1b" not in shown and "\x07" not in shown and r"a\x1b]0;PWNED\x07.wav" + "\t" in shown


def test_tables_have_no_power_over_a_terminal(model, recordings, tmp_path, capsys):
    evil = tiny_model(tmp_path / "m.safetensors", "speech", name="evil\x1b[2J")
    row = {"audio": str(recordings / "a.wav"), "text": "a", "speaker": "x\x9b31m"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    words = ["evaluate", tmp_path / "m.jsonl", "--model", evil, "--by", "speaker"]
    status, out, _ = run(capsys, *words)
    assert status == 0 and r"evil\x1b[2J: 1 items" in out and r"speaker=x\x9b31m chars" in out
    assert "\x1b" not in out and "\x9b" not in out
    assert json.loads(run(capsys, *words, "--json")[1])["model"] == "evil\x1b[2J"


# --- mistakes of ours ---


@pytest.mark.parametrize(
    ("command", "error"),
    [
        *(
            ("transcribe", error)
            for error in (RuntimeError, OverflowError, ValueError, KeyError, RecursionError)
        ),
        *((command, RuntimeError) for command in ("align", "spot", "evaluate", "demo")),
    ],
)
def test_whatever_one_input_raises_stays_with_it(
    command, error, model, recordings, tmp_path, capsys, monkeypatch
):
    """As a library may, for one of its files in ten thousand."""
    ship(monkeypatch, "asr", samples=recordings)

    def failing(real):
        def read(source, *rest):
            if str(source).endswith("in/a.wav"):
                raise error("of a library")
            return real(source, *rest)

        return read

    for place in (
        "sound.read.read_audio",
        "sound.read.read_recording",
        "reader.read_recording",
        "recording.read_recording",
    ):
        real = getattr(carousel.asr.sound.read, place.rpartition(".")[2])
        monkeypatch.setattr(f"carousel.asr.{place}", failing(real))
    (recordings / "b.wav").write_bytes((recordings / "a.wav").read_bytes())
    inputs = [recordings / "a.wav", recordings / "b.wav"]
    for path in inputs:
        path.with_suffix(".txt").write_text("abc")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"audio": str(path), "text": "abc"}) + "\n" for path in inputs))
    words = {
        "align": [*inputs, "--format", "json"],
        "spot": ["abc", *inputs],
        "evaluate": [manifest, "--output", tmp_path / "h.jsonl"],
        "demo": ["--output", tmp_path],
    }.get(command, inputs)
    status, out, err = run(capsys, command, *words, "--model", model)
    assert (status, err.count("\n")) == (1, 1)
    assert (f"{manifest}:1" if command == "evaluate" else str(inputs[0])) in err
    assert error.__name__ in err and "this is a bug" in err and "CAROUSEL_DEBUG=1" in err
    assert "b.wav" in (tmp_path / "h.jsonl").read_text() if command == "evaluate" else "b.wav" in out
    monkeypatch.setenv("CAROUSEL_DEBUG", "1")
    assert "Traceback (most recent call last)" in run(capsys, command, *words, "--model", model)[2]
