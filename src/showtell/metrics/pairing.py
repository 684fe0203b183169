"""Which pictures are scored, and what is said where candidates and references do not fit each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from showtell.errors import DataError
from showtell.metrics.reading import CandidateSet, ReferenceSet, such
from showtell.metrics.records import shown


@dataclass(frozen=True)
class Coverage:
    """How much of the references was scored."""

    pictures: tuple[str, ...]  # the scored ones, in the references' order
    of: int  # pictures that have references
    references: int  # captions of the scored ones
    notes: tuple[str, ...]  # what was left out or looks odd, in words

    def __str__(self) -> str:
        told = f"{len(self.pictures):,} of {self.of:,} pictures scored, {self.references:,} reference captions"
        return "; ".join((told, *self.notes))


def cover(references: ReferenceSet, files: Sequence[CandidateSet], *, partial: bool = False) -> Coverage:
    """The pictures that have references and a candidate in every one of `files`.

    Unless `partial`, those must be all, and no candidate may be of another picture: else `DataError` says which, as it
    does where no picture is left. A picture that has neither reference nor candidate is not counted, as in COCO.
    """
    known = [picture for picture, captions in references.captions.items() if captions]
    notes = []
    bare = len(references.captions) - len(known)
    if bare:
        notes.append(f"pictures without a reference caption, left out: {bare:,}")
    for file in files:
        # Captions of pictures that are listed without any reference are as far off as those of unlisted ones.
        orphans = [picture for picture in file.captions if not references.captions[picture]]
        missing = [picture for picture in known if picture not in file.captions]
        if len(missing) == len(known):
            _explain_nothing(references, file)
        if not partial:
            _refuse(references, file, orphans, missing)
        others = len(file.unknown) + len(orphans)
        notes += [f"{file.name}: pictures without a candidate, left out: {len(missing):,}"] if missing else []
        notes += [f"{file.name}: candidates of other pictures, left out: {others:,}"] if others else []
    pictures = tuple(picture for picture in known if all(picture in file.captions for file in files))
    if not pictures:
        raise DataError(f"{' and '.join(file.name for file in files)}: no picture has a candidate in both")
    for file in files:
        empty = sum(not text.strip() for picture in pictures for text in file.captions[picture])
        if empty:
            notes.append(f"{file.name}: empty candidates, scored as they are: {empty:,}")
    count = sum(len(references.captions[picture]) for picture in pictures)
    return Coverage(pictures, len(known), count, tuple(notes))


def _refuse(references: ReferenceSet, file: CandidateSet, orphans: list[str], missing: list[str]) -> None:
    count = f"{len(references.captions):,} pictures of {references.name}"
    if file.unknown:
        first, more = file.unknown[0], len(file.unknown) - 1
        raise DataError(
            f"{first.where}: picture {shown(first.keys[0])} is not among the {count}"
            f"{f', nor are {more:,} more' if more else ''}; correct the id, or score the pictures that have both with "
            "--partial"
        )
    if orphans:
        raise DataError(
            f"{file.places[orphans[0]]}: picture {shown(orphans[0])} has no reference caption in {references.name}, "
            "expected one or more; score the pictures that have both with --partial"
        )
    if missing:
        told = such([picture for picture in missing if picture in file.failed] or missing)
        reason = next((file.failed[picture] for picture in missing if picture in file.failed), None)
        raise DataError(
            f"{file.name}: no candidate for {len(missing):,} of the {count}, such as {told}"
            f"{f' ({reason})' if reason else ''}; {_split_hint(references)}score the pictures that have both with "
            "--partial"
        )


def _split_hint(references: ReferenceSet) -> str:
    if references.split is not None or not references.splits:
        return ""
    return f"name the split that was captioned with --split ({', '.join(sorted(references.splits))}), or "


def _explain_nothing(references: ReferenceSet, file: CandidateSet) -> None:
    if not file.unknown and not file.captions:
        reason = next(iter(file.failed.values()), None)
        raise DataError(f"{file.name}: holds no candidate{f' ({reason})' if reason else ''}, expected one a picture")
    ids = [record.keys[0] for record in file.unknown] or list(file.captions)
    raise DataError(
        f"{file.name}: none of its {len(ids):,} pictures has references in {references.name}; found {such(ids)}, "
        f"expected such as {such(list(references.captions))}; are they of another data set?"
    )
