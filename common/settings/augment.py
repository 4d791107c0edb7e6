"""Settings of the variations of training samples: each is drawn for each sample and epoch anew.

Leave a block out (`~augment.blur`) to do without it. Ranges are uniform.
"""

from dataclasses import dataclass

from carousel.common.settings.field import setting


@dataclass(frozen=True)
class Change:
    probability: float = setting(0.0, "that a sample is changed so", least=0, most=1)


@dataclass(frozen=True)
class Ranged(Change):
    range: tuple[float, float] = setting((0.0, 0.0), "of what is drawn", ordered=True)


@dataclass(frozen=True)
class Crop(Ranged):
    proportion: float = setting(0.2, "of the recording at most, on each side", least=0)


@dataclass(frozen=True)
class Equalizer(Ranged):
    points: int = setting(6, "of equal distance on the mel scale, from 0 Hz to half the sample rate", least=2)


@dataclass(frozen=True)
class Noise(Ranged):
    pink: float = setting(0.5, "share of pink noise (power 1/f); the rest is white", least=0, most=1)


@dataclass(frozen=True)
class Rooms(Change):
    folder: str | None = setting(None, "of sound files, one impulse response each")


@dataclass(frozen=True)
class Noises(Ranged):
    folder: str | None = setting(None, "of sound files")


@dataclass(frozen=True)
class FrequencyMasks(Change):
    count: int = setting(2, "of masks", least=0)
    width: int = setting(15, "filters at most (F of the paper)", least=0)


@dataclass(frozen=True)
class TimeMasks(Change):
    count: int = setting(2, "of masks", least=0)
    width: int = setting(25, "frames at most (T of the paper; letters and digits are short)", least=0)
    proportion: float = setting(
        0.1, "of the utterance's frames at most, for each mask (p of the paper)", least=0
    )


@dataclass(frozen=True)
class Speech:
    """Of an utterance (asr/augment.py)."""

    crop: Crop = setting(
        Crop(0.0, (0.0, 0.1)), "beginning and end cut off, as by a hasty editor; s, drawn for each side"
    )
    speed: Ranged = setting(
        Ranged(0.8, (0.9, 1.1)),
        "resampling by a factor, above 1 is faster: tempo, pitch and formants together (Ko et al. 2015)",
    )
    silence: Ranged = setting(
        Ranged(0.3, (0.0, 0.4)),
        "quiet noise before and after, as weak as the recording's quietest tenth; s, drawn for each side",
    )
    digital_silence: Ranged = setting(
        Ranged(0.1, (0.05, 2.0)),
        "zeros, dither of one bit or noise below -60 dB of full scale, before, after or both; s, drawn for "
        "each side, uniform in the logarithm",
    )
    rooms: Rooms = setting(
        Rooms(0.0), "the echo of a room, by its impulse response (Ko et al. 2017), drawn from a folder"
    )
    noises: Noises = setting(
        Noises(0.0, (5, 25)),
        "recorded noise, drawn from a folder; dB, signal to noise over the whole utterance",
    )
    equalizer: Equalizer = setting(
        Equalizer(0.0, (-6, 6)),
        "a random smooth frequency response, as of another microphone or room; dB, drawn for each point",
    )
    telephone: Change = setting(Change(0.0), "down to 8 kHz samples and back: nothing is left above 4 kHz")
    noise: Noise = setting(Noise(0.4, (10, 35)), "added noise; dB, signal to noise over the whole utterance")
    gain: Ranged = setting(Ranged(0.3, (-12, 6)), "louder or softer; dB, clipped at full scale")
    vtlp: Ranged = setting(
        Ranged(0.8, (0.9, 1.1)),
        "frequency axis of the mel filters warped by a factor on a grid of 0.01, as by another vocal tract "
        "(Jaitly & Hinton 2013)",
    )
    frequency_masks: FrequencyMasks = setting(
        FrequencyMasks(1.0), "SpecAugment (Park et al. 2019) on normalised features: 0, the mean"
    )
    time_masks: TimeMasks = setting(TimeMasks(1.0), "as frequency_masks, over time")


@dataclass(frozen=True)
class Elastic(Ranged):
    grid: float = setting(0.5, "distance of the knots between which it is smooth", unit="heights", least=0)


@dataclass(frozen=True)
class Patches(Change):
    count: int = setting(3, "of patches at most", least=0)
    width: float = setting(0.15, "at most, about half a letter", unit="heights", least=0)


@dataclass(frozen=True)
class Rules(Ranged):
    grid: float = setting(0.3, "share of squared paper", least=0)


@dataclass(frozen=True)
class Image:
    """Of a line image (hwr/image/augment.py). Lengths are in heights of the picture."""

    rotation: Ranged = setting(Ranged(0.4, (-1.5, 1.5)), "degrees")
    slant: Ranged = setting(Ranged(0.6, (-20, 20)), "degrees; below 0 leans right")
    stretch: Ranged = setting(Ranged(0.7, (0.8, 1.25)), "factor of the width")
    elastic: Elastic = setting(
        Elastic(0.6, (0.01, 0.05)), "smooth random displacement (Simard et al. 2003); greatest, heights"
    )
    neighbours: Ranged = setting(
        Ranged(0.1, (0.05, 0.15)), "ink of the line above or below reaches into the picture; heights"
    )
    clip: Ranged = setting(
        Ranged(0.1, (0.0, 0.08)), "cut off at the top and bottom, as by a careless line finder; heights, each"
    )
    masks: Patches = setting(Patches(0.2), "patches of blank paper")
    through: Ranged = setting(
        Ranged(0.1, (0.05, 0.35)), "writing of the back of the page shines through; how dark, of the ink"
    )
    rules: Rules = setting(Rules(0.1, (0.1, 0.6)), "a printed line to write on; how dark, of the darkest ink")
    thickness: Ranged = setting(
        Ranged(0.4, (-0.5, 0.7)), "share of an erosion (below 0) or dilation by one pixel"
    )
    coarse: Ranged = setting(Ranged(0.15, (0.5, 0.9)), "factor of the resolution")
    blur: Ranged = setting(Ranged(0.15, (0.005, 0.02)), "deviation of the Gaussian, heights")
    contrast: Ranged = setting(Ranged(0.3, (0.4, 1.0)), "factor of the range of grey values")
    gradient: Ranged = setting(Ranged(0.2, (0.05, 0.4)), "shade over the paper; how deep at most")
    noise: Ranged = setting(Ranged(0.2, (0.005, 0.05)), "standard deviation, of the full range")
    jpeg: Ranged = setting(Ranged(0.1, (20, 80)), "loss of JPEG; quality, 1 to 95")


@dataclass(frozen=True)
class Ink:
    """Of pen strokes (hwr/ink/augment.py). Deviations are standard deviations, heights those of the ink."""

    rotation: float = setting(0.06, "deviation", unit="radians")
    slant: float = setting(0.25, "deviation of the tangent")
    stretch: float = setting(0.15, "deviation of the log of x against y")
    bend: float = setting(0.035, "deviation of the elastic displacement", unit="heights")
    bend_length: float = setting(1.2, "shortest wave of the bend", unit="heights")
    stroke_shift: float = setting(0.02, "deviation of the shift of single strokes", unit="heights")
    stroke_scale: float = setting(0.04, "deviation of the log of the size of single strokes")
    drop: float = setting(0.1, "up to this share of the points is left out; ends of strokes are kept")
    chance: float = setting(0.85, "share of samples that are changed at all")


@dataclass(frozen=True)
class Render:
    """Of pen strokes drawn as a picture (hwr/ink/render.py). Heights are the picture's, units the ink's."""

    size: float = setting(0.19, "of a unit; a word is about 3 units high", unit="heights")
    pen_width: float = setting(0.22, "of the line", unit="units")
    slant: float = setting(0.0, "tangent, to the right")
    stretch: float = setting(1.0, "of x against y")
    size_spread: float = setting(0.15, "in training: deviation of the log of the size")
    pen_width_spread: float = setting(0.4, "in training: deviation of the log of the pen's width")
    slant_spread: float = setting(0.1, "in training: deviation of the slant")
    stretch_spread: float = setting(0.08, "in training: deviation of the log of the stretch")
    shift: float = setting(0.08, "in training: up or down at most", unit="heights")
    ink_grey: float = setting(120, "lightest ink", unit="grey levels")
    paper_grey: float = setting(170, "darkest paper", unit="grey levels")
    contrast: float = setting(90, "least difference of paper and ink", unit="grey levels")
    shading: float = setting(0.6, "chance of paper and ink of uneven grey")
    ruling: float = setting(0.15, "chance of ruled lines")
    noise: float = setting(9.0, "greatest standard deviation of the grain", unit="grey levels")
    blur: float = setting(0.9, "greatest radius", unit="pixels")
    smooth: float = setting(0.5, "chance of rounded corners: pens sample coarsely, ink flows")


@dataclass(frozen=True)
class Nothing:
    """Samples are taken as they are."""
