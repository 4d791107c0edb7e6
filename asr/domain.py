"""Speech as the commands, the training and the Python interface take it. Nothing heavy is imported."""

from pathlib import Path

from carousel.common.domain import Domain

SPEECH = Domain(
    name="speech",
    key="audio",
    suffixes=(
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".wma", ".webm"),
        *(".aif", ".aiff", ".aifc", ".au", ".caf", ".sph", ".w64", ".rf64", ".amr", ".mp2", ".m4b", ".3gp"),
        *(".mkv", ".mka", ".mov", ".avi", ".wv"),
    ),
    models=Path(__file__).parent / "models",
    samples=Path(__file__).parent / "samples",
    module="carousel.asr.recording",
    threshold=0.85,  # best F1 (97.1 %) on AN4's valid part, for 31 words: digits, letters and commands
    inner="'’",  # IT'S is one word, and IT is not said in it
    empty="is silent",
)
