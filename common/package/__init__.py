"""Speech and handwriting recognition with stacked bidirectional LSTMs, CTC and one shared decoder."""

__version__ = "0.1.0"
