"""The pictures that are searched at this moment, and how far each is.

B pictures, K hypotheses per picture, T words that a caption may have, n words of the longest so far, C candidates per
picture, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from showtell.decoding.candidates import Candidates
from showtell.vocabulary import END, START

NO_WORD = -1  # in front of captions that are shorter than others


@dataclass
class Running:
    """Rows of pictures, each with its hypotheses. A place that holds none has the score minus infinity."""

    names: NDArray[np.int64]  # (B,) what the caller calls them
    told: NDArray[np.int64]  # (B,) words so far, equal for the hypotheses of a picture
    scores: NDArray[np.float64]  # (B, K) sums of log-probabilities
    words: NDArray[np.int64]  # (B, K, T + 1), the start mark first
    log_probs: NDArray[np.float64]  # (B, K, T)
    over: NDArray[np.bool_]  # (B,) answered: waits to be left out
    noise: NDArray[np.float64] | None = None  # (B, K, T) where words are drawn
    attention: NDArray[np.float32] | None = None  # (B, K, T, R), made when first looked at

    @classmethod
    def begin(cls, names: Sequence[int], scores: NDArray[np.float64], max_words: int) -> "Running":
        """Pictures without a word; `scores` (B, K) leave out the hypotheses that would only repeat another."""
        count, width = scores.shape
        return cls(
            names=np.asarray(names, np.int64),
            told=np.zeros(count, np.int64),
            scores=scores,
            words=np.full((count, width, max_words + 1), START, np.int64),
            log_probs=np.zeros((count, width, max_words)),
            over=np.zeros(count, bool),
        )

    @property
    def max_words(self) -> int:
        """T."""
        return int(self.log_probs.shape[2])

    def keep(self, kept: NDArray[np.int64]) -> "Running":
        """The rows `kept` (N,) alone."""
        rows: dict[str, Any] = {name: None if value is None else value[kept] for name, value in self._rows()}
        return replace(self, **rows)

    def joined(self, others: "Running") -> "Running":
        """These, and behind them others of the same K and T."""
        rows: dict[str, Any] = dict(others._rows())
        if self.attention is not None and others.attention is None:
            rows["attention"] = np.zeros((*others.log_probs.shape, self.attention.shape[3]), np.float32)
        rows = {name: None if value is None else np.concatenate([value, rows[name]]) for name, value in self._rows()}
        return replace(self, **rows)

    def _rows(self) -> list[tuple[str, Any]]:
        """All arrays, or None, by their names."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def last(self) -> NDArray[np.int64]:
        """The word that each hypothesis goes on from (B, K)."""
        words: NDArray[np.int64] = self.words[np.arange(len(self.told)), :, self.told]
        return words

    def spoken(self) -> NDArray[np.int64]:
        """All words so far (B, K, n), the latest of each picture last, `NO_WORD` in front of shorter captions."""
        longest = int(self.told.max())
        if (self.told == longest).all():
            return self.words[:, :, 1 : longest + 1]
        places = self.told[:, None] - np.arange(longest)[::-1]  # (B, n), below 1 where there is no word
        words = np.take_along_axis(self.words, places.clip(min=0)[:, None, :], 2)
        return np.where(places[:, None, :] > 0, words, NO_WORD)

    def drawn(self) -> NDArray[np.float64]:
        """The noise of the word that comes next (B, K)."""
        assert self.noise is not None
        noise: NDArray[np.float64] = self.noise[np.arange(len(self.told)), :, self._place]
        return noise

    def extend(self, chosen: Candidates, attention: NDArray[np.float32] | None) -> NDArray[np.int64]:
        """Put each chosen word behind its parent's; `attention` (B, K, R) is that of the parents.

        Returns the parents (B, K) of the places. A picture that has all its words must have no score any more.
        """
        parents = np.take_along_axis(chosen.parents, chosen.going, 1)
        words = np.take_along_axis(chosen.words, chosen.going, 1)
        sums = np.take_along_axis(chosen.sums, chosen.going, 1)
        sums[words == END] = -np.inf
        possible = sums > -np.inf
        before = np.take_along_axis(self.scores, parents, 1)
        pictures, place = np.arange(len(parents)), self._place
        self.words = self.words[pictures[:, None], parents]
        self.words[pictures, :, place + 1] = words
        self.log_probs = self.log_probs[pictures[:, None], parents]
        self.log_probs[pictures, :, place] = np.subtract(sums, before, out=np.zeros_like(sums), where=possible)
        self.scores = sums
        if attention is not None:
            assert self.attention is not None
            self.attention = self.attention[pictures[:, None], parents]
            self.attention[pictures, :, place] = attention[pictures[:, None], parents]
        self.told = np.minimum(self.told + 1, self.max_words)
        return parents

    @property
    def _place(self) -> NDArray[np.int64]:
        """Of the word that comes next (B,); where there is none, of the last."""
        return np.minimum(self.told, self.max_words - 1)
