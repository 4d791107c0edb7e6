"""Settings of the features of a recording, of a line image and of pen strokes; model files keep them."""

from dataclasses import dataclass

from carousel.common.settings.field import again, setting


@dataclass(frozen=True)
class _Features:
    kind: str = setting("", "of the features")


@dataclass(frozen=True)
class _Filters(_Features):
    sample_rate: int = setting(
        16000, "every recording is resampled to it", unit="Hz", least=1, most=1_000_000
    )
    window: float = setting(0.025, "stretch of sound in a frame", unit="s", least=1e-6, most=10)
    hop: float = setting(0.010, "from frame to frame", unit="s", least=1e-6, most=10)
    filters: int = setting(80, "mel filters, HTK's scale", least=1, most=10_000)
    deltas: int = setting(0, "1: add slopes, 2: and their slopes", least=0, most=10)
    low: float = setting(20, "lower edge of the first filter", unit="Hz", least=0)
    high: float = setting(7600, "upper edge of the last filter", unit="Hz", least=0)
    preemphasis: float = setting(0.97, "first-difference filter in each window; 0: none", least=0)


@dataclass(frozen=True)
class LogMel(_Filters):
    """Log-mel filters, as most speech recognisers since 2012 take them."""

    prior: float = setting(
        100,
        "frames of the mean over all columns that the moments of a short utterance lean on; 0: none, and "
        "of a single vowel nothing is left",
        least=0,
    )
    band: float = setting(
        0, "filters above it are left blank, as for telephone speech (3800); 0: none", unit="Hz", least=0
    )
    kind: str = again(_Features, "kind", "logmel")


@dataclass(frozen=True)
class Mfcc(_Filters):
    """Cepstra with deltas, as in Graves et al. 2006 and other classic papers."""

    filters: int = setting(26, "mel filters, HTK's scale", least=1, most=10_000)
    coefficients: int = setting(13, "of the cosine transform, the 0th included", least=1)
    deltas: int = setting(2, "1: add slopes, 2: and their slopes", least=0, most=10)
    kind: str = again(_Features, "kind", "mfcc")


@dataclass(frozen=True)
class LineImage(_Features):
    """A frame is one pixel column of the normalised line: 0 paper … 1 ink (hwr/image/columns.py)."""

    height: int = setting(
        48, "of the normalised line, and numbers in a frame", unit="pixels", least=1, most=1000
    )
    deskew: bool = setting(
        True, "take the slope of the baseline out (up to 8 degrees; left alone where the evidence is weak)"
    )
    deslant: bool = setting(False, "stand slanted writing upright (up to 45 degrees)")
    spread: float = setting(
        6.5,
        "height of the line in standard deviations of its ink's rows; more makes the letters smaller",
        least=0.01,
        most=1000,
    )
    margin: float = setting(0.125, "paper kept left and right", unit="heights", least=0, most=1000)
    min_width: float = setting(
        1.0, "shorter lines are padded with paper up to this width", unit="heights", least=0, most=1000
    )
    kind: str = again(_Features, "kind", "image")


@dataclass(frozen=True)
class PenStrokes(_Features):
    """27 features a point (hwr/ink/features.py). A unit is of the ink's own size: a word of median height is
    about three units high, a letter's ink four to five units long."""

    spacing: float = setting(
        0.35, "step along the ink between two frames", unit="units", least=0.01, most=1000
    )
    pen_up_spacing: float = setting(1.4, "longest step of a pen-up move", unit="units", least=0.01, most=1000)
    pen_up_steps: int = setting(3, "… unless the move would need more steps than this", least=0, most=1000)
    one_row: bool = setting(True, "move further rows of writing behind the first, as if the line had gone on")
    level: bool = setting(True, "turn a sloping line of writing level")
    vicinity: int = setting(3, "frames on each side that the features of shape look at", least=0, most=1000)
    context_cell: float = setting(
        0.9, "width of one of the 3×3 cells of ink around a point", unit="units", least=0.01, most=1000
    )
    kind: str = again(_Features, "kind", "ink")
