"""The `CaptionSearch` (see `backend.py`) of models that tell one word at a time."""

from collections.abc import Callable, Sequence
from typing import Any

from showtell.caption import Caption
from showtell.decoding.search import Hypothesis, Search


class StepSearch:
    """A `Search` (see `decoding/search.py`) whose sentences become captions."""

    def __init__(self, search: Search, captions: Callable[[list[Hypothesis]], list[Caption]]) -> None:
        self._search, self._captions = search, captions

    def __len__(self) -> int:
        """Pictures that have no captions yet."""
        return len(self._search)

    def add(self, regions: Any, names: Sequence[int], picture_keys: Sequence[int]) -> None:
        """Pictures join. Raises `ValueError` where there is not a name and a key for each, or a name is taken."""
        self._search.add(regions, names, picture_keys)

    def step(self) -> list[tuple[int, list[Caption]]]:
        """One word further. Raises `ShowtellError` where the model gives NaN."""
        return [(name, self._captions(sentences)) for name, sentences in self._search.step()]
