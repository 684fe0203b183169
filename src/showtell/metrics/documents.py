"""In how many pictures' references each n-gram occurs: what CIDEr weighs words by, kept in a file.

A file of the training pictures' counts makes CIDEr independent of the set that is scored, down to a single picture. It
is JSON: `{"format": 1, "pictures": 6000, "ngrams": {"dog": 1204, "a dog": 907, ...}}`, words of an n-gram parted by
single spaces. N-grams of one picture are left out: CIDEr weighs those as it weighs unknown ones.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from showtell.errors import DataError
from showtell.files import write_text
from showtell.metrics.ngrams import LONGEST
from showtell.metrics.references import References

FORMAT = 1
_MAKE = "make it again with `showtell score --save-documents`"


@dataclass(frozen=True)
class Documents:
    """Counts of documents; a document is a picture with all its references."""

    pictures: int  # documents counted
    ngrams: Mapping[str, int]  # in how many an n-gram of 1..4 words occurs; one that is missing occurs in one


def count_documents(references: Sequence[Sequence[str]]) -> Documents:
    """Count the n-grams of 1 to 4 words in the references of each picture, words parted by white space.

    Raises `DataError` where there is no picture or one without a reference.
    """
    prepared = References(references)
    words = list(prepared.vocabulary)
    texts = {0: ""}  # by id, of the n-grams one word shorter; the beginning of a frequent n-gram is as frequent
    ngrams: dict[str, int] = {}
    for level in prepared.levels:
        frequent = np.flatnonzero(level.documents > 1)
        prefixes, last = np.divmod(level.keys[frequent], max(len(words), 1))
        longer = zip(frequent.tolist(), prefixes.tolist(), last.tolist(), strict=True)
        texts = {row: f"{texts[prefix]} {words[word]}".lstrip(" ") for row, prefix, word in longer}
        ngrams.update(zip(texts.values(), level.documents[frequent].tolist(), strict=True))
    return Documents(len(prepared), ngrams)


def write_documents(path: Path, documents: Documents) -> None:
    """Write so that a kill leaves the old file or the new one."""
    content = {"format": FORMAT, "pictures": documents.pictures, "ngrams": dict(documents.ngrams)}
    write_text(path, json.dumps(content, indent=0) + "\n")


def read_documents(path: Path) -> Documents:
    """Read what `write_documents` wrote. Raises `DataError`, one line, where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}), expected a file of document frequencies"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON in UTF-8 ({error}); {_MAKE}") from error
    if not isinstance(content, dict) or not {"format", "pictures", "ngrams"} <= content.keys():
        raise DataError(f"{path}: expected an object with format, pictures and ngrams; {_MAKE}")
    if content["format"] != FORMAT:
        raise DataError(f"{path}: format {content['format']!r:.40}, this version reads {FORMAT}; {_MAKE}")
    pictures, ngrams = content["pictures"], content["ngrams"]
    if not _is_count(pictures):
        raise DataError(f"{path}: pictures is {pictures!r:.40}, expected a whole number from 1 on; {_MAKE}")
    if not isinstance(ngrams, dict):
        raise DataError(f"{path}: ngrams is no object of counts by n-gram; {_MAKE}")
    for ngram, found in ngrams.items():
        if not _is_count(found) or found > pictures:
            raise DataError(f"{path}: count {found!r:.40} of {ngram!r:.40}, expected 1 to {pictures}; {_MAKE}")
        if not 1 <= len(ngram.split()) <= LONGEST or " ".join(ngram.split()) != ngram:
            raise DataError(
                f"{path}: n-gram {ngram!r:.40}, expected 1 to {LONGEST} words parted by single spaces; {_MAKE}"
            )
    return Documents(pictures, ngrams)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**53
