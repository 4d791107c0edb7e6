"""Each change against what it promises: lengths, levels, spectra, shares; and the same from the same seed."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.asr import augment
from carousel.asr.sound.read import read_audio
from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS
from tests.conftest import corpus
from tests.torchaudio_guard import import_torchaudio

RATE = 16000


def conf() -> dict:
    return defaults(GROUPS["augment"]["speech"])


def only(name: str, **changes: Any) -> dict:
    """One block of the settings that are given out, drawn every time."""
    return {name: {**conf()[name], "probability": 1.0, **changes}}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float = 1000.0, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def peak(wave: np.ndarray) -> float:
    """Frequency of the strongest line, Hz."""
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * RATE / len(wave))


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


@given(st.integers(0, 2**32), st.integers(400, 20000))
@settings(max_examples=40, deadline=None)
def test_everything_is_drawn_from_the_seed_alone(seed: int, samples: int) -> None:
    wave = rng(1).uniform(-1, 1, samples).astype(np.float32)
    before = wave.copy()
    first, second = (augment.augment_wave(wave, conf(), rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(wave, before)  # the cache keeps it
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1
    assert 0.9 * samples / 1.1 < len(first) < samples / 0.85 + 5 * RATE


def test_other_seeds_give_other_waves() -> None:
    wave = tone()
    assert len({augment.augment_wave(wave, conf(), rng(seed)).tobytes() for seed in range(30)}) > 25


def test_no_settings_change_nothing() -> None:
    wave = tone()
    np.testing.assert_array_equal(augment.augment_wave(wave, {}, rng()), wave)
    assert augment.draw_warp({}, rng()) == 1.0
    array = rng().standard_normal((50, 80)).astype(np.float32)
    np.testing.assert_array_equal(augment.augment_features(array, {}, rng()), array)


@pytest.fixture
def sounds(tmp_path: Path) -> str:
    """A folder of two recordings, shorter and longer than a second, one of them in a folder of its own."""
    (tmp_path / "sounds" / "more").mkdir(parents=True)
    for name, seconds in (("a.wav", 0.3), ("more/b.flac", 2.0)):
        noise = rng(len(name)).uniform(-0.5, 0.5, int(seconds * RATE))
        soundfile.write(tmp_path / "sounds" / name, noise * np.linspace(1, 0.1, len(noise)), RATE)
    (tmp_path / "sounds" / "readme.txt").write_text("no recording")
    return str(tmp_path / "sounds")


@pytest.mark.parametrize("name", list(defaults(GROUPS["augment"]["speech"])))
def test_probability_is_kept(name: str, sounds: str) -> None:
    given = {name: {**only(name)[name], "probability": 0.3}}
    if "folder" in given[name]:
        given[name]["folder"] = sounds
    wave = tone(seconds=0.1) + rng(9).normal(0, 0.01, 1600).astype(np.float32)
    array = np.ones((200, 80), np.float32)
    changed = 0
    for seed in range(400):
        generator = rng(seed)
        after = augment.augment_wave(wave, given, generator)
        warp = augment.draw_warp(given, generator)
        masked = augment.augment_features(array, given, generator)
        changed += not np.array_equal(after, wave) or warp != 1.0 or not masked.all()
    # Binomial: 120 ± 5 deviations of 9; masks of width 0 and warps of 1.0 are drawn too, and change nothing.
    assert 60 < changed < 166


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_tempo_and_pitch_alike(factor: float) -> None:
    wave = augment.augment_wave(tone(), only("speed", range=[factor, factor]), rng())
    assert len(wave) == pytest.approx(RATE / factor, abs=2)
    assert peak(wave) == pytest.approx(1000 * factor, abs=2)
    assert power(wave) == pytest.approx(power(tone()), rel=0.02)


def recorded(folder: Path, wave: np.ndarray) -> str:
    """A folder with this recording alone."""
    folder.mkdir()
    soundfile.write(folder / "a.wav", wave, RATE, subtype="FLOAT")
    return str(folder)


def test_a_room_echoes_what_it_hears_and_is_no_louder(tmp_path: Path) -> None:
    response = np.zeros(2000, np.float32)
    response[[100, 500, 1700]] = 0.8, 0.4, -0.2  # the direct sound comes after 100 samples, and is no delay
    given = only("rooms", folder=recorded(tmp_path / "rooms", response))
    for samples in (RATE, 47917, 300):
        wave = rng(1).uniform(-0.1, 0.1, samples).astype(np.float32)
        echoed = augment.augment_wave(wave, given, rng())
        assert len(echoed) == samples and power(echoed) == pytest.approx(power(wave), rel=1e-4)
        late, later = (np.pad(wave, (delay, 0))[:samples] for delay in (400, 1600))
        expected = wave + late / 2 - later / 4
        np.testing.assert_allclose(echoed, expected * np.sqrt(power(wave) / power(expected)), atol=1e-6)


def test_a_room_is_the_convolution_of_torchaudio(sounds: str) -> None:
    functional = import_torchaudio().functional
    wave = rng(1).uniform(-0.1, 0.1, 20000).astype(np.float32)
    echoed = augment.augment_wave(wave, only("rooms", folder=sounds), rng(3))
    responses = [read_audio(path) for path in augment.sound_files(sounds)]
    expected = []
    for response in responses:
        direct = response[np.abs(response).argmax() :]
        whole = functional.fftconvolve(torch.from_numpy(wave), torch.from_numpy(direct))[: len(wave)].numpy()
        expected.append(whole * np.sqrt(power(wave) / power(whole)))
    assert min(np.abs(echoed - other).max() for other in expected) < 1e-5


@pytest.mark.parametrize("ratio", [0, 10, 30])
@pytest.mark.parametrize("samples", [4000, RATE, 3 * RATE])
def test_recorded_noise_has_the_ratio_that_was_asked_for(sounds: str, ratio: float, samples: int) -> None:
    wave = rng(1).uniform(-0.1, 0.1, samples).astype(np.float32)
    for seed in range(4):
        noise = (
            augment.augment_wave(wave, only("noises", range=[ratio, ratio], folder=sounds), rng(seed)) - wave
        )
        assert 10 * np.log10(power(wave) / power(noise)) == pytest.approx(ratio, abs=0.1)
        functional = import_torchaudio().functional
        pair = torch.from_numpy(wave), torch.from_numpy(noise)
        expected = functional.add_noise(*pair, torch.tensor(float(ratio))).numpy()
        np.testing.assert_allclose(wave + noise, expected, atol=2e-3)


def test_recorded_noise_begins_anywhere_and_goes_on_from_its_beginning(tmp_path: Path) -> None:
    clip = np.linspace(0.1, 0.9, 1000, dtype=np.float32)
    given = only("noises", range=[0, 0], folder=recorded(tmp_path / "noises", clip))
    starts = set()
    for seed in range(20):
        noise = augment.augment_wave(tone(level=0.05), given, rng(seed)) - tone(level=0.05)
        starts.add(start := int(noise[:1000].argmax()))
        np.testing.assert_allclose(noise[: RATE - 1000], noise[1000:], atol=1e-6)
        np.testing.assert_allclose(np.roll(noise[:1000], 999 - start) * 0.9 / noise.max(), clip, atol=1e-3)
    assert len(starts) > 15


def test_every_recording_of_a_folder_is_drawn_and_resampled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):  # of 8 kHz: what is read without resampling would sound an octave higher
        soundfile.write(tmp_path / "a" / f"{number}.wav", tone(300 + 100 * number)[::2], RATE // 2)
    given = only("noises", range=[0, 0], folder=str(tmp_path / "a"))
    waves = [augment.augment_wave(tone(), given, rng(seed)) - tone() for seed in range(20)]
    assert {round(peak(wave) / 100) for wave in waves} == {3, 4, 5}


@pytest.mark.parametrize("name", ["rooms", "noises"])
def test_a_folder_that_would_do_nothing_is_named(tmp_path: Path, name: str) -> None:
    for folder, words in (
        (None, "no folder of sounds"),
        (str(tmp_path / "none"), "no folder .*none"),
        (str(tmp_path), "no rec"),
    ):
        with pytest.raises(InputError, match=words):
            augment.augment_wave(tone(), {name: {**only(name)[name], "folder": folder}}, rng())
    silent = recorded(tmp_path / "silent", np.zeros(RATE, np.float32))
    with pytest.raises(InputError, match=r"a\.wav: is silent"):
        augment.augment_wave(tone(), only(name, folder=silent), rng())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.wav").write_text("no recording")
    with pytest.raises(InputError, match=r"b\.wav: cannot be read as audio"):
        augment.augment_wave(tone(), only(name, folder=str(tmp_path / "bad")), rng())


@pytest.mark.parametrize("name", ["noise", "noises", "rooms"])
def test_silence_gets_neither_noise_nor_echo(name: str, sounds: str) -> None:
    given = only(name)
    if "folder" in given[name]:
        given[name]["folder"] = sounds
    for wave in (np.zeros(RATE, np.float32), np.zeros(1, np.float32)):
        np.testing.assert_array_equal(augment.augment_wave(wave, given, rng()), wave)


def test_rooms_and_noises_of_the_corpus_are_read() -> None:
    folder = corpus("noise")
    given = only("rooms", folder=str(folder / "rooms")) | only("noises", folder=str(folder / "esc10"))
    for seed in range(5):
        changed = augment.augment_wave(tone(), given, rng(seed))
        assert (
            len(changed) == RATE
            and np.isfinite(changed).all()
            and not np.allclose(changed, tone(), atol=0.01)
        )


@pytest.mark.parametrize("ratio", [0, 10, 30])
@pytest.mark.parametrize("pink", [0.0, 1.0])
def test_noise_has_the_ratio_that_was_asked_for(ratio: float, pink: float) -> None:
    wave = tone(level=0.2)
    noise = augment.augment_wave(wave, only("noise", range=[ratio, ratio], pink=pink), rng()) - wave
    assert 10 * np.log10(power(wave) / power(noise)) == pytest.approx(ratio, abs=0.1)


def test_white_noise_is_flat_and_pink_falls_by_three_decibels_an_octave() -> None:
    slopes = []
    for pink in (False, True):
        spectrum = np.square(np.abs(np.fft.rfft(augment.white_or_pink(1 << 17, pink, rng()))))
        octaves = [10 * np.log10(spectrum[1 << k : 2 << k].mean()) for k in range(6, 16)]
        slopes.append(np.polyfit(range(10), octaves, 1)[0])
    assert slopes[0] == pytest.approx(0, abs=0.15)
    assert slopes[1] == pytest.approx(-3.01, abs=0.15)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 1021])
def test_noise_of_any_length_is_finite(count: int) -> None:
    for pink in (False, True):
        noise = augment.white_or_pink(count, pink, rng())
        assert noise.shape == (count,)
        assert np.isfinite(noise).all()


def test_gain_is_in_decibels() -> None:
    wave = augment.augment_wave(tone(), only("gain", range=[-20, -20]), rng())
    np.testing.assert_allclose(wave, tone() / 10, atol=1e-6)
    assert np.abs(augment.augment_wave(tone(), only("gain", range=[40, 40]), rng())).max() == 1.0  # clipped


def test_silence_is_as_quiet_as_the_quietest_part_and_the_recording_stands_between() -> None:
    wave = np.concatenate([tone(seconds=0.5), rng(1).normal(0, 0.003, RATE).astype(np.float32)])
    given = only("silence", range=[0.2, 0.3])
    longer = augment.augment_wave(wave, given, rng())
    added = len(longer) - len(wave)
    assert 2 * 0.2 * RATE <= added <= 2 * 0.3 * RATE
    start = next(i for i in range(3100, 4900) if np.array_equal(longer[i : i + len(wave)], wave))
    for part in (longer[:start], longer[start + len(wave) :]):
        assert len(part) >= 0.2 * RATE - 1
        assert np.sqrt(power(part)) == pytest.approx(0.003, rel=0.15)


def test_silence_of_a_silent_or_short_recording_is_silent() -> None:
    for wave in (np.zeros(RATE, np.float32), np.ones(10, np.float32)):
        longer = augment.augment_wave(wave, only("silence", range=[0.1, 0.2]), rng())
        assert len(longer) > len(wave)
        assert np.count_nonzero(longer) == np.count_nonzero(wave)


def test_digital_silence_is_zeros_dither_or_weak_noise_on_one_side_or_both() -> None:
    wave = np.full(RATE, 0.5, np.float32)
    kinds, sides = set(), set()
    for seed in range(60):
        longer = augment.augment_wave(wave, only("digital_silence", range=[0.1, 2]), rng(seed))
        start = int((longer > 0.4).argmax())
        before, after = longer[:start], longer[start + RATE :]
        np.testing.assert_array_equal(longer[start : start + RATE], wave)
        assert all(0.1 * RATE - 1 <= len(part) <= 2 * RATE for part in (before, after) if len(part))
        quiet = np.concatenate([before, after])
        assert power(quiet) < 2e-6  # -60 dB, and room for chance
        steps = set(np.unique(quiet * 32768))
        kinds.add("zeros" if steps == {0} else "dither" if steps == {-1, 0, 1} else "noise")
        sides.add((len(before) > 0, len(after) > 0))
    assert kinds == {"zeros", "dither", "noise"}
    assert sides == {(True, True), (True, False), (False, True)}


def test_telephone_leaves_nothing_above_four_kilohertz() -> None:
    given = only("telephone")
    assert power(augment.augment_wave(tone(6000), given, rng())[200:-200]) < 1e-8
    kept = augment.augment_wave(tone(1000), given, rng())
    assert abs(len(kept) - RATE) <= 2
    assert power(kept) == pytest.approx(power(tone(1000)), rel=0.01)


def test_crop_takes_from_both_ends_within_its_range_and_share() -> None:
    wave = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)
    for seed in range(20):
        cropped = augment.augment_wave(wave, only("crop", range=[0.1, 0.2], proportion=0.5), rng(seed))
        start = int(np.searchsorted(wave, cropped[0]))
        end = RATE - start - len(cropped)
        assert 0.1 * RATE - 1 <= min(start, end) <= max(start, end) <= 0.2 * RATE
        np.testing.assert_array_equal(cropped, wave[start : RATE - end])
    short = augment.augment_wave(wave[:1000], only("crop", range=[0.1, 0.2], proportion=0.2), rng())
    assert len(short) == 600


def test_an_equalizer_of_one_point_would_be_a_gain_and_is_refused() -> None:
    with pytest.raises(InputError, match=r"augment.equalizer.points must be at least 2, not 1"):
        augment.augment_wave(np.zeros(1600, np.float32), only("equalizer", points=1), rng(), RATE)


def test_equalizer_changes_each_band_within_the_range_and_nothing_else() -> None:
    given = only("equalizer", range=[-6, 6], points=4)
    gains = []
    for hertz in (200, 1000, 3000, 7000):
        changed = augment.augment_wave(tone(hertz, level=0.1), given, rng(1))
        assert len(changed) == RATE
        assert peak(changed) == hertz
        gains.append(10 * np.log10(power(changed[800:-800]) / power(tone(hertz, level=0.1)[800:-800])))
    assert all(-6.1 <= gain <= 6.1 for gain in gains)
    assert max(gains) - min(gains) > 1  # not the same for all
    flat = augment.augment_wave(tone(), only("equalizer", range=[-3, -3], points=2), rng())
    assert flat == pytest.approx(tone() * 10 ** (-3 / 20), abs=1e-3)


def test_warps_lie_on_a_grid_within_the_range() -> None:
    drawn = {augment.draw_warp(only("vtlp", range=[0.9, 1.1]), rng(seed)) for seed in range(500)}
    assert drawn == {round(0.9 + 0.01 * step, 2) for step in range(21)}


@given(
    st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([(80, None), (240, 80), (39, 0), (3, None)])
)
@settings(max_examples=150, deadline=None)
def test_masks_stay_within_what_was_asked(seed: int, frames: int, shape: tuple[int, int | None]) -> None:
    columns, bands = shape
    array = np.ones((frames, columns), np.float32)
    given = {name: conf()[name] for name in ("frequency_masks", "time_masks")}
    masked = augment.augment_features(array, given, rng(seed), bands)
    assert array.all()  # a copy
    rows, blocks = ~masked.any(axis=1), ~masked.any(axis=0)
    if not masked.any():  # few frames or columns can all be masked
        return
    assert rows.sum() <= 2 * min(25, frames // 10)
    width = columns if bands is None else bands
    assert blocks.sum() <= 2 * min(15, width) * (columns // width if width else 0)
    # Every masked number is in a masked row or column, and every other one is as it was.
    np.testing.assert_array_equal(masked == 0, rows[:, None] | blocks[None, :])
    if bands == 80:
        first, *others = blocks.reshape(3, 80)
        assert all(np.array_equal(first, other) for other in others)


def test_masks_are_uniform_in_width_and_reach_every_place() -> None:
    given = only("frequency_masks", count=1, width=10)
    array = np.ones((1, 40), np.float32)
    masks = [augment.augment_features(array, given, rng(seed))[0] == 0 for seed in range(3000)]
    widths = np.bincount([mask.sum() for mask in masks], minlength=11)
    assert widths.shape == (11,)
    assert np.abs(widths - 3000 / 11).max() < 5 * np.sqrt(3000 / 11)
    assert np.any(masks, axis=0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda given: given.update(reverb={"probability": 1}), "reverb"),
        (lambda given: given["noise"].pop("pink"), "noise"),
        (lambda given: given["gain"].update(colour=1), "gain"),
    ],
)
def test_settings_that_would_do_nothing_are_named(change: Callable[[dict], object], words: str) -> None:
    given = copy.deepcopy(conf())
    change(given)
    with pytest.raises(InputError, match=words):
        augment.augment_wave(tone(), given, rng())
