"""What a user asks of training beside the recipe: which data, and what to learn from besides."""

from dataclasses import dataclass, replace
from pathlib import Path

from showtell.training.run import DataSource


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
    """Where a run's data lay, in absolute paths."""

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
    )


def as_before(request: Request, source: DataSource) -> Request:
    """The request of a run that goes on: what it began with, where that is not named anew."""
    return replace(
        request,
        regions=request.regions or (Path(source.regions) if source.regions else None),
        teachers=request.teachers or tuple(map(Path, source.teachers)),
        captions=request.captions or tuple(map(Path, source.captions)),
        text=request.text or (Path(source.text) if source.text else None),
    )
