"""The diagnostic tasks, small: each threshold is one that a broken cell misses."""

import csv
import json
import math
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carousel.common.errors import InputError, UsageError
from carousel.recipes.diagnostics.__main__ import TASKS, main
from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.task import HELD_OUT, Run, Task, build, train


def task(name: str) -> Task:
    return import_module(f"carousel.recipes.diagnostics.tasks.{name}").TASK


def trained(name: str, variant: str | None = None, **settings: Any) -> Run:
    """A training from seed 1, of a variant or of the task as it is."""
    one = task(name)
    own = one.variants[variant] if variant is not None else {}
    return train(one, replace(one.settings, **dict(own) | settings), seed=1)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strings(folder: Path) -> str:
    """A manifest of two lines of digits: bars of two and of three pixels, of which the second touch."""
    lines = []
    for number, (columns, text) in enumerate((([4, 5, 9, 10], "12"), ([4, 5, 6, 7, 8], "34"))):
        line = np.full((32, 24), 255, np.uint8)
        line[8:24, columns] = 0
        Image.fromarray(line).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "text": text}) + "\n")
    (folder / "strings.jsonl").write_text("".join(lines))
    return str(folder / "strings.jsonl")


@pytest.mark.parametrize("name", TASKS)
def test_batches_and_networks_fit_each_other(name: str, tmp_path: Path):
    """And the loss has a gradient by every weight."""
    one = task(name)
    for own in one.variants.values():
        settings = replace(one.settings, **{**own, "length": 12, "data": strings(tmp_path)})
        drawn = one.batch(settings, 3, generator())
        network = build(one, settings)
        outputs, _ = network(drawn.x, drawn.lengths)
        assert outputs.shape[:2] == drawn.targets.shape[:2] == drawn.asked.shape
        assert drawn.asked.any(1).all() and not (drawn.asked.sum(1) > drawn.lengths).any()
        one.loss(outputs, drawn).backward()
        assert all(weight.grad is not None for weight in network.parameters())
        again = one.batch(settings, 3, generator())
        assert torch.equal(again.x, drawn.x) and torch.equal(again.targets, drawn.targets)


def test_the_gradient_vanishes_explodes_or_flows():
    back = {
        variant: trained("gradient_flow", variant, length=120, test=2).measured["100 back"]
        for variant in ("rnn 0.9", "rnn 2", "lstm1997", "lstm bias 1", "lstm bias 5", "gru bias 1")
    }
    assert back["rnn 0.9"] < 1e-6 and back["gru bias 1"] < 1e-6 and back["lstm bias 1"] < 1e-3
    assert back["rnn 2"] > 1e3
    assert 1e-3 < back["lstm bias 5"] < 1e3 and 1e-5 < back["lstm1997"] < 1e3


def test_adding_is_learned_in_little():
    """A cell that keeps nothing stays at the variance of the target, 0.04."""
    run = trained("adding", length=20, chrono=20, hidden=8, steps=250, check_every=250, test=300)
    assert run.measured["mse"] < 0.02


def test_what_came_second_is_told_after_a_lag():
    """A cell that keeps nothing is sure of none."""
    run = trained("long_lags", length=20, chrono=20, steps=150, check_every=150, test=250)
    assert run.measured["wrong"] < 50


def test_a_curriculum_of_copying_gets_to_its_end():
    """A cell that keeps nothing has one in eight right, and never leaves the first length."""
    settings = {"length": 2, "first": 1, "hidden": 32, "steps": 400, "check_every": 50, "test": 100}
    run = trained("copying", forget_bias=3.0, **settings)
    assert run.solved and run.measured["of baseline"] < 0.5
    lengths = [row["length"] for row in run.curve]
    assert lengths == sorted(lengths) and set(lengths) == {1, 2}


def test_what_a_curriculum_measures_at_its_end_is_the_whole_task():
    """Even if the last test raised the length."""
    settings = {"length": 4, "first": 2, "hidden": 8, "steps": 2, "check_every": 2, "test": 100}
    one = replace(task("copying"), ready=lambda measured: True)
    run = train(one, replace(one.settings, **settings), seed=1)
    assert run.curve[-1]["length"] == 2
    with torch.inference_mode():
        whole = one.measure(run.network, run.settings, generator(HELD_OUT))
    assert run.measured == pytest.approx(whole) and not run.solved


def test_the_baseline_of_copying_is_that_of_arjovsky():
    copying = import_module("carousel.recipes.diagnostics.tasks.copying")
    assert copying.baseline(200) == pytest.approx(10 * math.log(8) / 220)
    drawn = copying.batch(replace(copying.TASK.settings, length=50), 4, generator())
    symbols = drawn.x.argmax(-1)
    assert torch.equal(symbols[:, :10], drawn.targets[:, -10:])
    assert (symbols == copying.MARK).sum() == 4 and (symbols[:, 59] == copying.MARK).all()
    assert (symbols[:, 10:59] == copying.BLANK).all() and (drawn.targets[:, :-10] == copying.BLANK).all()


def test_adding_is_as_the_paper_has_it():
    adding = import_module("carousel.recipes.diagnostics.tasks.adding")
    drawn = adding.batch(replace(adding.TASK.settings, length=100), 500, generator())
    assert int(drawn.lengths.min()) >= 100 and int(drawn.lengths.max()) <= 110
    for x, target, length in zip(drawn.x, drawn.targets, drawn.lengths, strict=True):
        marked = (x[:, 1] == 1).nonzero()[:, 0]
        assert len(marked) == 2 and int(marked.min()) < 10 and int(marked.max()) < 50
        assert x[length - 1, 1] == -1 and x[0, 1] in (-1, 1)
        assert torch.allclose(target, 0.5 + x[marked, 0].sum() / 4)


def test_words_are_of_the_grammar():
    """By a regular expression of Reber's grammar, independent of the graph that draws them."""
    reber = import_module("carousel.recipes.diagnostics.reber")
    loop = "T*V(?:PXT*V)*(?:PS|V)"  # from the state that X and P lead to
    inner = f"B(?:TS*(?:XS|XX{loop})|P{loop})E"
    embedded = re.compile(f"B(?:T{inner}T|P{inner}P)E")
    random = Random(1)
    for _ in range(300):
        word = list(reber.word(random))
        assert embedded.fullmatch("".join(symbol for symbol, _ in word))
        assert all(symbol in might for symbol, might in word)


def test_streams_go_on_where_they_were():
    """Two batches of a stream, the state carried, are as the two in one."""
    one = task("continual_reber")
    network = Network(*one.sizes(one.settings), one.settings)
    drawn = one.batch(one.settings, 1, generator())
    half = int(drawn.lengths) // 2
    whole, _ = network(drawn.x, drawn.lengths)
    first, state = network(drawn.x[:, :half], torch.tensor([half]))
    second, _ = network(drawn.x[:, half:], drawn.lengths - half, state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), whole)
    anew, _ = network(drawn.x[:, half:], drawn.lengths - half)
    assert not torch.allclose(anew, second)


def test_a_mistake_in_a_stream_counts():
    reber = import_module("carousel.recipes.diagnostics.reber")
    drawn, legal = reber.streams(3, 4, True, generator())
    assert reber.right(legal.float(), legal)[drawn.asked].all()
    assert legal.gather(2, drawn.targets[..., None])[..., 0][drawn.asked].all()
    assert not reber.right(-legal.float(), legal)[drawn.asked].any()


def test_the_embedded_grammar_is_learned_in_part():
    """A cell that keeps nothing has no word right."""
    run = trained("embedded_reber", "lstm", steps=350, check_every=350, test=300)
    assert run.measured["wrong"] < 200


def test_words_that_are_counted():
    counting = import_module("carousel.recipes.diagnostics.counting")
    drawn = counting.words(torch.tensor([2, 1]), 3)
    rows = zip(drawn.x.argmax(-1), drawn.lengths, strict=True)
    symbols = ["".join("Sabc"[i] for i in row[:length]) for row, length in rows]
    assert symbols == ["Saabbcc", "Sabc"]
    might = [
        ["".join(letter for letter, on in zip("abcT", step, strict=True) if on) for step in row[:n]]
        for row, n in zip(drawn.targets, drawn.lengths, strict=True)
    ]
    assert might == [["a", "ab", "ab", "b", "c", "c", "T"], ["a", "ab", "c", "T"]]


def test_counting_goes_as_far_as_it_was_trained():
    """A cell that keeps nothing accepts no word."""
    run = trained("anbn", "peephole", length=4, steps=400, check_every=400, test=10)
    assert run.measured["up to"] >= 4


def test_six_steps_between_spikes_are_told_from_five():
    """A cell that keeps nothing is wrong every other time."""
    run = trained("spike_delay", "peephole", length=6, steps=300, check_every=100, test=200)
    assert run.measured["wrong"] < 20


def test_a_run_writes_its_results_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    small = ["length=12", "variants=[lstm1997]", "seeds=[1,2]", "test=2", "hidden=3"]
    assert main(["gradient_flow", "name=small", *small]) == 0
    assert "| lstm1997 | " in capsys.readouterr().out
    with (tmp_path / "runs/small/results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [("lstm1997", "1"), ("lstm1997", "2")]
    assert all(float(row["10 back"]) > 0 for row in rows)
    assert {"plot.png", "config.yaml"} <= {path.name for path in (tmp_path / "runs/small").iterdir()}
    with pytest.raises(InputError, match=r"already holds results\.csv"):
        main(["gradient_flow", "name=small", *small])


def test_what_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no task subtracting; there are adding"):
        main(["subtracting"])
    for override, said in (
        ("hiden=3", "hiden"),
        ("hidden=0", "hidden must be at least 1, not 0"),
        ("cell=elman", "cell must be"),
        ("variants=[T7]", "there is no variant T7; there are T100"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            main(["adding", override])


def test_an_rnn_goes_on_where_it_was():
    """Rows of other lengths too, of which what stands after the end is not read."""
    one = task("blues")
    settings = replace(one.settings, cell="rnn", hidden=5)
    network = Network(*one.sizes(settings), settings)
    x = one.batch(settings, 2, generator()).x
    whole, _ = network(x, torch.tensor([20, 96]))
    _, state = network(x[:, :50], torch.tensor([20, 50]))
    later, _ = network(x[:, 50:], torch.tensor([46, 46]), state)
    torch.testing.assert_close(later[1], whole[1, 50:])
    after_20, _ = network(x[:1, :20], torch.tensor([20]))
    anew, _ = network(x[:1, 50:], torch.tensor([46]), [(state[0][0][:1],)])
    assert torch.equal(anew[0, 0], later[0, 0]) and torch.allclose(after_20[0], whole[0, :20])


def test_rows_of_a_stream_begin_anew_at_times():
    """Or the empty state, from which the test begins, would not be learned."""
    seen: list[torch.Tensor] = []

    class Watched(Network):
        def forward(self, x, lengths, state=None):  # type: ignore[no-untyped-def]
            if state is not None and self.training:
                seen.append(state[0][0].abs().amax(1))
            return super().forward(x, lengths, state)

    module = import_module("carousel.recipes.diagnostics.task")
    one = replace(task("continual_reber"), measure=lambda *_: {"perfect": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Network", Watched)
        train(one, replace(one.settings, steps=30, check_every=30), seed=1)
    empty = torch.stack(seen) == 0
    assert 0.03 < empty.float().mean() < 0.25


def test_a_stream_is_read_from_its_beginning():
    """Without that the first mistake is at the second symbol, however long the training."""
    fast = replace(task("continual_reber").settings.optimizer, rate=0.015)
    run = trained("continual_reber", "lstm", steps=200, hidden=24, test=1000, optimizer=fast)
    assert run.measured["until"] > 20


@pytest.mark.parametrize("name", ["timed_spikes", "periodic"])
def test_waves_are_whole_and_tested_to_the_end(name: str):
    """A net that says what is wanted has every period right, one that errs in the third has two."""
    one = task(name)
    settings = replace(one.settings, length=12, test=120)
    wanted = one.batch(settings, 1, generator()).targets
    assert torch.equal(wanted[:, :12], wanted[:, 12:24]) and wanted.min() == 0 and wanted.max() == 1
    logits = torch.where(wanted > 0.5, 9.0, -9.0) if name == "timed_spikes" else wanted
    network = Reciting(logits[0])
    assert one.measure(network, settings, generator())["right periods"] == 120
    network.says = network.says.repeat(100, 1)
    network.says[30] = 9 - network.says[30]
    measured = one.measure(network, settings, generator())
    assert measured["right periods"] == 2 and measured["worst"] >= 0.49
    assert not one.solved(measured, settings)


class Reciting(Network):
    """Says the rows of `says` over and over."""

    def __init__(self, says: torch.Tensor):
        torch.nn.Module.__init__(self)
        self.says = says

    def forward(self, x, lengths, state=None):  # type: ignore[no-untyped-def]
        start = state or 0
        steps = torch.arange(start, start + x.shape[1]) % len(self.says)
        return self.says[steps].expand(len(x), -1, -1), start + x.shape[1]


def test_a_short_wave_is_made_without_end():
    """A net that does not keep time has no period right."""
    run = trained("timed_spikes", "lstm 10", length=4, steps=400, check_every=100, test=200)
    assert run.measured["right periods"] == 200


def test_the_blues_is_heard_as_it_is():
    """A net that recites the form has all bars right; one that is a step late has none at a change."""
    blues = import_module("carousel.recipes.diagnostics.tasks.blues")
    form = blues.encode(blues.chorus(1, generator()))[0].roll(-1, 0)
    settings = replace(blues.TASK.settings, test=3)
    says = (form * 2 - 1) * 50
    assert blues.measure(Reciting(says), settings, generator()) == {"bars right": 1.0, "in scale": 1.0}
    late = blues.measure(Reciting(says.roll(1, 0)), settings, generator())
    changes = sum(a != b for a, b in zip(blues.FORM, blues.FORM[1:], strict=False)) * 3
    assert late["bars right"] == pytest.approx(1 - changes / 36)


def test_midi_is_what_was_played(tmp_path: Path):
    mido = pytest.importorskip("mido")
    blues = import_module("carousel.recipes.diagnostics.tasks.blues")
    music = blues.chorus(1, generator(3))
    blues.write_midi(music, tmp_path / "blues.mid")
    chords, melody = mido.MidiFile(tmp_path / "blues.mid").tracks
    for track, notes, lowest in (
        (chords, music.chords[0], 48),
        (melody, torch.nn.functional.one_hot(music.melody[0], 14)[:, :13].bool(), 72),
    ):
        sounding, heard, time = set(), torch.zeros_like(notes), 0
        for message in track:
            steps = message.time // 240
            assert message.time % 240 == 0
            for note in sounding:
                heard[time : time + steps, note - lowest] = True
            time += steps
            if message.type == "note_on":
                sounding.add(message.note)
            elif message.type == "note_off":
                sounding.remove(message.note)
        assert not sounding and torch.equal(heard, notes)


def test_digits_move_and_bounce(tmp_path: Path):
    moving = import_module("carousel.recipes.diagnostics.tasks.moving_digits")
    known = moving.digits(strings(tmp_path))
    assert known.shape == (2, 16, 16) and known.amax((1, 2)).min() == 1  # those that touch are left out
    shown = moving.films(known[:1], 4, 60, generator())
    assert shown.shape == (4, 60, 32, 32) and shown.max() == 1
    mass = shown.sum((2, 3))
    assert mass.max() <= 2 * known[0].sum() + 1e-3 and mass.min() > 0.9 * known[0].sum()
    rows = torch.arange(32.0)
    centre = (shown.sum(3) * rows).sum(2) / mass
    assert ((centre[:, 1:] - centre[:, :-1]).abs() <= 2 * moving.FASTEST).all()
    assert (centre.diff(dim=1).sign().diff(dim=1).abs() == 2).any(1).all()  # each turns back at an edge


def test_a_convolutional_cell_is_that_of_the_paper():
    """Against equation 3 of Shi et al. 2015, place by place; and a shifted input gives shifted states."""
    convlstm = import_module("carousel.recipes.diagnostics.convlstm")
    torch.manual_seed(1)
    cell = convlstm.ConvLSTMCell(2, 3)
    torch.nn.init.normal_(cell.peephole)
    x, h, c = (torch.randn(1, size, 8, 8) for size in (2, 3, 3))
    after, state = cell(x, h, c)
    both = torch.nn.functional.pad(torch.cat((x, h), 1), (1, 1, 1, 1))[0]
    for place in ((0, 0), (3, 5), (7, 7)):
        row, column = place
        near = both[:, row : row + 3, column : column + 3]
        i, f, o, z = ((cell.gates.weight * near).sum((1, 2, 3)) + cell.gates.bias).chunk(4)
        old = c[0, :, row, column]
        at = cell.peephole[:, :, row, column]
        new = torch.sigmoid(f + at[1] * old) * old + torch.sigmoid(i + at[0] * old) * torch.tanh(z)
        torch.testing.assert_close(state[0, :, row, column], new)
        torch.testing.assert_close(after[0, :, row, column], torch.sigmoid(o + at[2] * new) * torch.tanh(new))


def test_a_film_is_learned_and_written(tmp_path: Path):
    """A net that shows the mean of all frames has more nats; it does not know where a digit is."""
    own = {"steps": 100, "check_every": 100, "test": 20, "batch": 4, "length": 6, "hidden": 12}
    one = task("moving_digits")
    fast = replace(one.settings.optimizer, rate=0.02)
    run = trained("moving_digits", "convlstm", **own, data=strings(tmp_path), optimizer=fast)
    drawn = one.batch(run.settings, 20, generator(HELD_OUT))
    mean = drawn.targets.mean((0, 1)).clamp(1e-3, 1 - 1e-3)
    blind = torch.nn.functional.binary_cross_entropy(
        mean.expand_as(drawn.targets), drawn.targets, reduction="none"
    )
    assert run.measured["nats"] < 0.92 * float(blind.sum(-1).mean())
    assert one.write is not None
    one.write(run, tmp_path)
    with Image.open(tmp_path / "film--1.gif") as film:
        assert getattr(film, "n_frames", 1) == 6 and film.size == (3 * 34 * 4, 2 * 34 * 4)


def test_noise_on_the_weights_is_of_the_training_alone():
    """It changes what is learned, and is gone from the weights after each step."""
    noisy = replace(task("adding").settings.optimizer, weight_noise=0.1)
    small = {"length": 10, "steps": 3, "check_every": 3, "test": 20}
    plain, varied = (
        trained("adding", **small, optimizer=one) for one in (task("adding").settings.optimizer, noisy)
    )
    weights = [torch.cat([p.flatten() for p in run.network.parameters()]) for run in (plain, varied)]
    assert 0 < float((weights[0] - weights[1]).abs().max()) < 0.1
