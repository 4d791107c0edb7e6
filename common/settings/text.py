"""How texts are written before a recogniser learns them; stored in the model and used to measure it."""

from dataclasses import dataclass

from carousel.common.settings.field import setting


@dataclass(frozen=True)
class Text:
    case: str = setting("keep", "of letters", choices=("keep", "upper", "lower"))
    form: str = setting(
        "NFC", "Unicode's; NFKC also writes out ligatures and wide letters", choices=("NFC", "NFKC")
    )
    keep: str | None = setting(
        None,
        'characters that texts are made of, such as "A-Z \'" or "letters digits \'"; also punctuation, '
        "symbols; spaces always stay; null: all",
    )
    drop: str | None = setting(None, 'characters that are dropped, such as "punctuation" or "…"; null: none')
    others: str = setting(
        "drop",
        "what is done about characters beside those of keep: drop them, or leave the sample out",
        choices=("drop", "leave"),
    )
