"""What a user asks of training beside the recipe: which data, and what to learn from besides."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from showtell.errors import CheckpointError, DataError
from showtell.training.checkpoint import latest_checkpoint, weights_of
from showtell.training.run import DataSource, Run


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of `showtell train` and `showtell features`, beside the recipe."""

    data: Path
    format: str = "auto"
    images: Path | None = None  # folder of the pictures, if they lie elsewhere
    splits: Path | None = None  # a file of `showtell data split`
    regions: Path | None = None  # folder of region files, which take the encoder's place
    encoder_weights: Path | None = None
    encoder_config: Path | None = None
    features: Path | None = None  # folder of the feature store; None is under the cache
    device: str = "auto"
    teachers: tuple[Path, ...] = ()  # finished runs to learn from, beside the captions
    captions: tuple[Path, ...] = ()  # files of further captions of training pictures, JSON lines
    text: Path | None = None  # a file of sentences, one a line, to learn in place of captions, without pictures
    word_vectors: Path | None = None  # a file of word vectors, as GloVe's, that the decoder's embeddings begin with


def source_of(request: Request) -> DataSource:
    """Where a run's data lie, in absolute paths, and what its files hold. Raises `DataError` where one is missing."""

    def absolute(path: Path | None) -> str | None:
        return str(path.absolute()) if path else None

    return DataSource(
        root=str(request.data.absolute()),
        format=request.format,
        images=absolute(request.images),
        splits=absolute(request.splits),
        regions=absolute(request.regions),
        teachers=[str(path.absolute()) for path in request.teachers],
        captions=[str(path.absolute()) for path in request.captions],
        text=absolute(request.text),
        word_vectors=absolute(request.word_vectors),
        sums={option: _sum(files) for option, files in _files(request).items()},
    )


def as_before(request: Request, run: Run) -> Request:
    """The request of a run that goes on: what it began with, where that is not named anew.

    Raises `CheckpointError` where that is other than what it has learnt from: a file that has changed, or a new one.
    """
    source, learnt = run.source, latest_checkpoint(run.folder) is not None
    if learnt:  # vectors are where words began, which is long over, and the file may be gone
        request = replace(request, word_vectors=None)
    elif not request.word_vectors and source.word_vectors:
        request = replace(request, word_vectors=Path(source.word_vectors))
    request = replace(
        request,
        regions=request.regions or (Path(source.regions) if source.regions else None),
        teachers=request.teachers or tuple(map(Path, source.teachers)),
        captions=request.captions or tuple(map(Path, source.captions)),
        text=request.text or (Path(source.text) if source.text else None),
    )
    if source.sums is None:
        return request
    for option, files in _files(request).items():
        if option not in source.sums:
            raise CheckpointError(
                f"{run.folder}: has begun without {option}; leave it out, or start a new run with another --out"
            )
        if _sum(files) != source.sums[option]:
            raise CheckpointError(
                f"{run.folder}: {', '.join(map(str, files))} ({option}) has changed since the run began; restore it, "
                "or start a new run with another --out"
            )
    return request


def _files(request: Request) -> dict[str, list[Path]]:
    """The files that are learnt from beside the data set, by the option that names them; of a teacher its weights."""
    found = {
        "--captions": list(request.captions),
        "--text": [request.text] if request.text else [],
        "--word-vectors": [request.word_vectors] if request.word_vectors else [],
        "--teacher": [weights_of(run) for run in request.teachers],
    }
    return {option: files for option, files in found.items() if files}


def _sum(files: Sequence[Path]) -> str:
    """sha256 of what files hold, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}); name a file that is there") from error
    return digest.hexdigest()
