"""IAM handwriting database: scanned English lines.

CORPUS is the folder as published: the pictures as lines/a01/a01-000u/a01-000u-00.png, the texts as
xml/a01-000u.xml or ascii/lines.txt (or lines.txt), who wrote them in the XML or ascii/forms.txt. Where the
split lists of the Large Writer Independent Text Line Recognition Task are at hand (trainset.txt,
validationset1.txt, validationset2.txt, testset.txt, at any depth; train.txt, valid.txt, test.txt and the
endings .uttlist and .lst do as well), they are the split: one line or form a row, both validation sets as
valid; lines in none of them are left out and counted. Without lists, writers are split by a hash of their
numbers, about a tenth of the lines each for valid and test: not the split of the literature.

The XML has the texts as they were written. lines.txt puts a | between words and around punctuation, which is
set back where that is certain: before .,:;!?) and after (; quotation marks keep their spaces.
"""

from argparse import Namespace
from collections import Counter

from carousel.common.data.layouts.iam import form_of, picture, read_lists, read_texts, split_by_lists
from carousel.common.errors import InputError
from carousel.recipes import images


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus that is not whole."""
    corpus = arguments.corpus
    if not corpus.is_dir():
        raise InputError(f"{corpus}: there is no such folder")
    texts, writers = read_texts(corpus)
    replaced: Counter[str] = Counter()
    rows = {
        line: {
            "image": picture(corpus, line),
            "text": images.write_like_a_pen(text, replaced),
            "writer": writers.get(form_of(line), line[:3]),
            "page": form_of(line),
        }
        for line, text in sorted(texts.items())
    }
    if lists := read_lists(corpus):
        splits = split_by_lists(rows, lists)
    else:
        splits = images.split_by_group(list(rows.values()), lambda row: str(row["writer"]), 0.1, 0.1)
    images.write_splits(arguments.output, splits)
    unused = len(rows) - sum(map(len, splits.values()))
    images.report(+Counter({"line that is in no split list": unused}), replaced)
