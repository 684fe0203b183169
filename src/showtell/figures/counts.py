"""What the plots of a data set show, counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from showtell.data.dataset import SPLITS, Dataset
from showtell.data.example import Example
from showtell.data.pick import draw
from showtell.errors import ImageError
from showtell.images import upright_size
from showtell.sources import open_picture
from showtell.threads import default_threads
from showtell.tokenizers import TOKENIZERS

SAMPLE = 10_000  # most pictures that are measured: more change no picture of their sizes
TOP = 20  # most frequent words that are named


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of a data set or of one split of it."""

    name: str
    split: str | None  # whose numbers these are; None is all
    pictures: dict[str, int]  # split -> pictures, of the whole data set; "none" are those in no split
    captions: Counter[int]  # captions of a picture -> pictures with so many
    lengths: Counter[int]  # words of a caption -> captions with so many
    words: Counter[str]  # word -> times
    sizes: tuple[tuple[int, int], ...]  # width and height of up to `SAMPLE` pictures, upright, pixels
    unread: int  # pictures of the sample that give no size

    @property
    def headline(self) -> str:
        pictures, captions = self.captions.total(), self.lengths.total()
        part = f" of {self.split}" if self.split else ""
        return f"{pictures:,} pictures{part}, {captions:,} captions, {len(self.words):,} different words"

    @property
    def top(self) -> list[tuple[str, int]]:
        """The most frequent words, those of the same count by alphabet."""
        return sorted(self.words.items(), key=lambda item: (-item[1], item[0]))[:TOP]

    @property
    def texts(self) -> str:
        """All text of the data set that is shown."""
        return " ".join([self.name, *(word for word, _ in self.top)])


def count(
    dataset: Dataset,
    examples: Sequence[Example],
    split: str | None = None,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> Counts:
    """Count captions and words of `examples`, and measure up to `SAMPLE` of their pictures.

    `examples` are all of the data set or those of `split`. Words are those of the tokenizer "words". Pictures are not
    decoded, and those whose file is not there are not loaded. `progress` is called with 1 for each picture.
    """
    split_words = TOKENIZERS["words"]
    told = [split_words(caption) for example in examples for caption in example.captions]
    sizes = []
    sample = draw(examples, SAMPLE, 0)
    pool = ThreadPoolExecutor(default_threads(), "showtell-sizes")
    try:
        for size in pool.map(_size, sample):
            progress(1)
            if size:
                sizes.append(size)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for all
    by_split = {name or "none": len(dataset.of_split(name)) for name in (*SPLITS, None)}
    return Counts(
        name=dataset.root.resolve().name,
        split=split,
        pictures={name: number for name, number in by_split.items() if number},
        captions=Counter(len(example.captions) for example in examples),
        lengths=Counter(map(len, told)),
        words=Counter(word for words in told for word in words),
        sizes=tuple(sizes),
        unread=len(sample) - len(sizes),
    )


def _size(example: Example) -> tuple[int, int] | None:
    try:
        return upright_size(open_picture(example.image))
    except ImageError:
        return None
