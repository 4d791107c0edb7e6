"""Log-mel, MFCC and deltas against torchaudio's, frames against the clock, silence against itself."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.asr import features
from carousel.asr.augment import change_speed
from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS
from tests.conftest import corpus
from tests.torchaudio_guard import import_torchaudio

RATE = 16000


def conf(name: str, **changes: Any) -> dict:
    return {**defaults(GROUPS["features"][name]), **changes}


def speechlike(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise whose level and colour change every tenth of a second."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(math.ceil(seconds * 10)):
        noise = rng.standard_normal(RATE // 10)
        spectrum = scipy.fft.rfft(noise) * np.exp(-np.arange(RATE // 20 + 1) / rng.uniform(50, 800))
        parts.append(scipy.fft.irfft(spectrum) * rng.uniform(0.001, 0.3))
    return np.concatenate(parts)[: int(seconds * RATE)].astype(np.float32)


def whole(wave: np.ndarray) -> np.ndarray:
    """In steps of 16 bits."""
    return (np.rint(wave * 32768) / 32768).astype(np.float32)


def raw(wave: np.ndarray, **changes: Any) -> np.ndarray:
    """Log-mel before normalising."""
    given = conf("logmel", **changes)
    return features._log_mel(wave, given, round(given["window"] * RATE), round(given["hop"] * RATE), 1.0)


def kaldi(function: str, wave: np.ndarray, **options: Any) -> np.ndarray:
    import_torchaudio()
    import torchaudio.compliance.kaldi as compliance

    return getattr(compliance, function)(
        torch.from_numpy(wave * 32768)[None],
        sample_frequency=RATE,
        window_type="hanning",
        snip_edges=False,
        dither=0.0,
        low_freq=20.0,
        high_freq=7600.0,
        **options,
    ).numpy()


@pytest.mark.parametrize("seconds", [0.025, 0.0301, 0.5, 1.2345])
@pytest.mark.parametrize("filters", [23, 80])
def test_log_mel_is_that_of_kaldi(seconds: float, filters: int) -> None:
    wave = whole(speechlike(seconds))
    mine = raw(wave, filters=filters)
    theirs = kaldi("fbank", wave, num_mel_bins=filters)
    assert mine.shape == theirs.shape
    # Kaldi's floor is lower: compare what is above ours.
    np.testing.assert_allclose(mine, np.maximum(theirs, 0.0), atol=2e-3)
    assert (theirs > 0).mean() > 0.9


def test_cepstra_are_those_of_kaldi_but_for_the_lifter() -> None:
    wave = speechlike() + np.float32(0.01) * np.random.default_rng(1).standard_normal(2 * RATE).astype(
        np.float32
    )
    theirs = kaldi("mfcc", wave, num_mel_bins=26, num_ceps=13, cepstral_lifter=0.0)
    given = conf("mfcc", deltas=0)
    expected = features.normalise(theirs, 0.03, frames=features.loud(raw(wave, filters=26)))
    np.testing.assert_allclose(features.extract(wave, given), expected, atol=5e-3)


def test_cosines_are_the_orthonormal_dct() -> None:
    array = np.random.default_rng(0).standard_normal((5, 26))
    expected = scipy.fft.dct(array, type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(array @ features._cosines(26, 13), expected, atol=1e-5)


def test_deltas_are_those_of_torchaudio() -> None:
    array = np.random.default_rng(0).standard_normal((40, 13)).astype(np.float32)
    functional = import_torchaudio().functional
    expected = (
        functional.compute_deltas(torch.from_numpy(array.T.copy()), win_length=5, mode="replicate").numpy().T
    )
    np.testing.assert_allclose(features.deltas(array), expected, atol=1e-5)


def test_deltas_of_a_slope_are_the_slope() -> None:
    ramp = np.outer(np.arange(20.0), [1.0, -3.0]).astype(np.float32)
    np.testing.assert_allclose(features.deltas(ramp)[2:-2], np.tile([1.0, -3.0], (16, 1)), atol=1e-6)


def test_mel_filters_are_between_the_edges_of_torchaudio() -> None:
    mine = features.mel_filters(RATE, 4096, 40, 20.0, 7600.0)
    functional = import_torchaudio().functional
    theirs = functional.melscale_fbanks(2049, 20.0, 7600.0, 40, RATE, norm=None, mel_scale="htk").numpy()
    # Its triangles (as librosa's) are linear in Hz, Kaldi's and ours in mel: same edges, other slopes.
    np.testing.assert_array_equal(mine > 0, theirs > 0)
    np.testing.assert_allclose(mine, theirs, atol=0.08)


@pytest.mark.parametrize("name", ["logmel", "mfcc"])
def test_every_coefficient_is_normalised(name: str) -> None:
    given = conf(name, **({"prior": 0} if name == "logmel" else {}))
    array = features.extract(speechlike(), given)
    assert array.dtype == np.float32
    assert array.shape == (200, features.size(given))
    if name == "logmel":
        shift, scale = features.PAUSES
        array = np.where(array > features.REST, array * scale - shift, np.nan)  # what is held says nothing
    spoken = array[features.loud(raw(speechlike(), filters=given["filters"]))]
    told = ~np.isnan(spoken).any(axis=0)
    assert told.mean() > 0.5
    np.testing.assert_allclose(spoken.mean(0)[told], 0, atol=1e-4)
    np.testing.assert_allclose(spoken.std(0)[told], 1, atol=1e-3)


@pytest.mark.parametrize("name", ["logmel", "mfcc"])
def test_silence_stays_quiet(name: str) -> None:
    np.testing.assert_array_equal(features.extract(np.zeros(RATE, np.float32), conf(name)), 0)
    # One step of 16 bits now and then, and a constant offset: hardly anything may come of them.
    dither = np.random.default_rng(0).integers(-1, 2, RATE) / 32768
    assert np.abs(features.extract(dither.astype(np.float32), conf("logmel"))).std() < 1
    assert np.abs(features.extract(np.full(RATE, 0.5, np.float32), conf(name))).max() < 1e-3


def quiet(kind: str, seconds: float) -> np.ndarray:
    """What a recorder at rest gives."""
    rng, count = np.random.default_rng(5), int(seconds * RATE)
    kinds = {
        "zeros": np.zeros(count),
        "offset": np.full(count, 0.01),
        "dither": rng.integers(-1, 2, count) / 32768,
        "noise": 1e-3 * rng.standard_normal(count),  # -60 dB of full scale
    }
    return kinds[kind].astype(np.float32)


@pytest.mark.parametrize("name", ["logmel", "mfcc"])
@pytest.mark.parametrize("kind", ["zeros", "offset", "dither", "noise"])
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (20, 0), (0, 20), (5, 20)])
def test_silence_around_speech_leaves_its_features_as_they_are(
    name: str, kind: str, before: float, after: float
) -> None:
    given = conf(name, deltas=0)
    wave = speechlike() + np.float32(0.003) * np.random.default_rng(6).standard_normal(2 * RATE).astype("f")
    plain = features.extract(wave, given)
    longer = features.extract(np.concatenate([quiet(kind, before), wave, quiet(kind, after)]), given)
    start = round(before * 100)
    inner = slice(start + 2, start + len(plain) - 2)  # a window at the edge sees both
    assert np.abs(longer[inner] - plain[2:-2]).mean() < 0.1
    around = np.delete(longer, np.arange(start - 2, start + len(plain) + 2).clip(0, len(longer) - 1), axis=0)
    assert np.abs(around).mean() < 4  # no blow at the network: what is far below the speech is held


def test_silence_between_words_counts_no_more_than_a_pause() -> None:
    given = conf("logmel")
    first, second = speechlike(1.0, 1), speechlike(1.0, 2)
    plain = features.extract(np.concatenate([first, second]), given)
    apart = features.extract(np.concatenate([first, quiet("zeros", 10), second]), given)
    assert np.abs(apart[:98] - plain[:98]).mean() < 0.1
    assert np.abs(apart[-98:] - plain[-98:]).mean() < 0.1


def test_a_click_louder_than_the_speech_is_not_taken_for_it() -> None:
    wave = 0.05 * speechlike()
    plain = features.extract(wave, conf("logmel"))
    wave[16000:16080] = 0.99
    assert np.abs(features.extract(wave, conf("logmel")) - plain)[:90].mean() < 0.3


def test_a_resampled_recording_is_heard_as_from_the_cache_of_a_training() -> None:
    """The cache holds whole steps: floats have less between them, which made a filter of its own silence."""
    wave = change_speed(whole(speechlike())[::2].copy(), 0.5)  # nothing is left above 4 kHz
    given = conf("logmel")
    np.testing.assert_array_equal(features.extract(wave, given), features.extract(whole(wave), given))


def test_loudness_does_not_matter() -> None:
    # The floor of 16 bits is the one exception, so the wave has noise well above it.
    wave = 0.2 * speechlike() + np.random.default_rng(2).standard_normal(2 * RATE).astype(np.float32) / 300
    wave = whole(wave)
    expected = features.extract(wave, conf("logmel"))
    np.testing.assert_allclose(features.extract(3 * wave, conf("logmel")), expected, atol=2e-3)


@given(st.integers(400, 5000), st.sampled_from([0.010, 0.0125, 0.005, 0.030]))
@settings(max_examples=50, deadline=None)
def test_frames_count_the_hops(samples: int, hop: float) -> None:
    given = conf("logmel", hop=hop)
    array = features.extract(np.ones(samples, np.float32), given)
    step = round(hop * RATE)
    assert len(array) == max(1, int(samples / step + 0.5))
    assert features.frame_stride(given) == pytest.approx(step / RATE)


@pytest.mark.parametrize("second", [0.105, 0.505, 0.991])
def test_a_click_is_in_the_frame_of_its_time(second: float) -> None:
    wave = np.zeros(RATE, np.float32)
    wave[int(second * RATE)] = 1.0
    # The window is widest where it is centred, so the loudest frame is the one whose time holds the click.
    loudest = raw(wave).sum(axis=1).argmax()
    assert loudest == int(second / features.frame_stride(conf("logmel")))


def test_blocks_of_frames_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = features.extract(speechlike(), conf("logmel"))
    monkeypatch.setattr(features, "BLOCK", 7)
    np.testing.assert_allclose(features.extract(speechlike(), conf("logmel")), whole, atol=1e-4)


@pytest.mark.parametrize("warp", [0.9, 1.1])
def test_warp_moves_a_tone_as_a_filter_bank_would(warp: float) -> None:
    """Filters moved up by 10 % hear a tone 10 % higher where they heard the first."""
    time = np.arange(RATE) / RATE
    given = conf("logmel")
    places = []
    for factor, hertz in ((1.0, 1500.0), (warp, 1500.0 * warp)):
        wave = (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        places.append(features._log_mel(wave, given, 400, 160, factor)[50].argmax())
    assert abs(int(places[0]) - int(places[1])) <= 1
    still = features._log_mel(
        (0.5 * np.sin(2 * np.pi * 1500 * time)).astype(np.float32), given, 400, 160, warp
    )
    assert np.sign(still[50].argmax() - places[0]) == np.sign(1 - warp)


@given(st.floats(0.8, 1.2), st.sampled_from([8000, 16000, 44100]))
def test_vtlp_is_continuous_rising_and_keeps_the_ends(warp: float, rate: int) -> None:
    grid = np.linspace(0, rate / 2, 2000)
    warped = features.vtlp(grid, warp, rate)
    assert warped[0] == 0
    assert warped[-1] == pytest.approx(rate / 2)
    steps = np.diff(warped)
    assert steps.min() > 0
    assert steps.max() < 2.5 * (rate / 2 / 1999)  # no jump at the knee
    np.testing.assert_allclose(warped[grid < 1500], warp * grid[grid < 1500])


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_window_is_an_error_that_says_so(samples: int) -> None:
    with pytest.raises(InputError, match="too short"):
        features.extract(np.zeros(samples, np.float32), conf("logmel"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "bark"}, "bark"),
        ({"high": 9000}, "9000"),
        ({"filters": 400}, "400"),
        ({"colour": 1}, "has no colour"),
        ({"coefficients": 13}, "has no coefficients"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        features.extract(speechlike(0.1), conf("logmel", **changes))


def test_settings_that_lack_a_key_are_named() -> None:
    given = conf("mfcc")
    del given["deltas"]
    with pytest.raises(InputError, match=r"features.deltas is missing"):
        features.size(given)


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match="one channel"):
        features.extract(np.zeros((RATE, 2), np.float32), conf("logmel"))


def test_deltas_widen_log_mel_as_well() -> None:
    given = conf("logmel", deltas=2)
    assert features.extract(speechlike(0.5), given).shape == (50, 240)
    assert features.size(given) == 240


def test_real_speech_is_far_from_the_floors() -> None:
    from carousel.asr.sound.read import read_audio

    path = sorted(corpus("an4").glob("wav/an4_clstk/*/*"))[0]
    array = raw(read_audio(path))
    assert (array > 0).mean() > 0.99
    assert (array.std(axis=0) > features.SMALLEST_DEVIATION["logmel"]).all()


@given(st.integers(1, 60), st.floats(0, 200))
def test_a_prior_leans_the_moments_of_short_utterances_on_all_columns(frames, prior):
    """As if `prior` more frames, with the moments of all columns together, had been seen."""
    x = np.random.default_rng(frames).normal(3, 2, (frames, 5)).astype(np.float32) * np.arange(1, 6)
    mean, variance = x.mean(0), x.var(0)
    expected_mean = (frames * mean + prior * mean.mean()) / (frames + prior)
    expected_variance = (frames * variance + prior * variance.mean()) / (frames + prior)
    expected = (x - expected_mean) / np.maximum(np.sqrt(expected_variance), 0.5)
    np.testing.assert_allclose(features.normalise(x, 0.5, prior), expected, rtol=2e-4, atol=2e-4)


def test_nothing_above_the_band_reaches_the_features() -> None:
    wave = speechlike(0.5)
    hiss = 0.05 * np.sin(2 * np.pi * 6000 * np.arange(len(wave)) / RATE).astype(np.float32)
    narrow = conf("logmel", band=3800, prior=100)
    clean, noisy = features.extract(wave, narrow), features.extract(wave + hiss, narrow)
    silent = ~clean.any(axis=0)
    assert 15 < silent.sum() < 25  # mel(3800) is three quarters of mel(7600)
    assert silent[-silent.sum() :].all()
    assert (
        np.abs(noisy - clean).mean()
        < 0.1
        * np.abs(
            features.extract(wave + hiss, conf("logmel")) - features.extract(wave, conf("logmel"))
        ).mean()
    )
    wide = features.extract(wave, conf("logmel", prior=0))
    unleant = features.extract(wave, conf("logmel", band=3800, prior=0))
    # Without prior each column stands by itself, but for which frames are loud.
    assert np.abs(unleant[:, ~silent] - wide[:, ~silent]).mean() < 0.1


def test_a_band_without_a_filter_is_refused() -> None:
    with pytest.raises(InputError, match="no filter lies below 10 Hz"):
        features.extract(speechlike(0.2), conf("logmel", band=10))


@pytest.mark.parametrize(
    ("key", "value"),
    [("hop", 1e308), ("window", 11.0), ("sample_rate", 10**9), ("deltas", 99), ("filters", 10**6)],
)
def test_settings_that_ask_for_too_much_are_refused(key, value):
    """As a header may have them: inf samples, gigabytes."""
    with pytest.raises(InputError, match=f"{key} must be .*at most"):
        features.extract(np.zeros(16000, np.float32), conf("logmel", **{key: value}))


def test_centres_are_where_the_filters_peak():
    settings = {"low": 20, "high": 7600, "filters": 20}
    bank = features.mel_filters(16000, 16384, 20, 20, 7600)
    peaks = bank.argmax(axis=0) * 16000 / 16384
    np.testing.assert_allclose(features.centres(settings), peaks, atol=1)
