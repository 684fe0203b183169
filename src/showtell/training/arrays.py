"""The array operations of decoding in torch, on any device.

B pictures, K hypotheses per picture, V words, M decoders.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from showtell.decoding.arrays import best_of_candidates

Named = Mapping[str, Tensor]


class TorchArrays:
    """`Arrays` (see `decoding/protocol.py`) for decoders that give tensors of `device`.

    Words and scores come back to numpy, the large arrays stay where they are, and nothing is written in place.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)

    def _ship(self, values: NDArray[np.int64] | NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def tokens(self, ids: NDArray[np.int64]) -> Tensor:
        """The ids on the device."""
        return self._ship(ids)

    def repeat(self, arrays: Named, k: int) -> dict[str, Tensor]:
        """(B, 1, ...) -> (B, k, ...)."""
        return {name: array.repeat_interleave(k, dim=1) for name, array in arrays.items()}

    def gather(self, arrays: Named, parents: NDArray[np.int64]) -> dict[str, Tensor]:
        """Row parents[b, j] of picture b goes to place j."""
        rows = self._ship(parents)  # (B, J)
        pictures = torch.arange(len(parents), device=self.device).unsqueeze(1)  # (B, 1)
        return {name: array[pictures, rows] for name, array in arrays.items()}

    def select(self, arrays: Named, pictures: NDArray[np.int64]) -> dict[str, Tensor]:
        """The rows of `pictures` alone."""
        rows = self._ship(pictures)
        return {name: array.index_select(0, rows) for name, array in arrays.items()}

    def join(self, first: Named, second: Named) -> dict[str, Tensor]:
        """The rows of both."""
        return {name: torch.cat([array, second[name]]) for name, array in first.items()}

    def ban(self, log_probs: Tensor, words: NDArray[np.int64]) -> Tensor:
        """Columns at minus infinity, in a copy."""
        return log_probs.index_fill(2, self._ship(words), -torch.inf)

    def ban_each(self, log_probs: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Single entries at minus infinity, in a copy."""
        places = tuple(self._ship(rows).unbind(1))
        return log_probs.index_put(places, log_probs.new_tensor(-torch.inf))

    def column(self, log_probs: Tensor, word: int) -> NDArray[np.float64]:
        """One word's log-probability (B, K)."""
        values: NDArray[np.float64] = log_probs[:, :, word].detach().double().cpu().numpy()
        return values

    def alive(self, log_probs: Tensor) -> NDArray[np.bool_]:
        """Whether any word is left (B, K)."""
        left: NDArray[np.bool_] = (log_probs.amax(2) > -torch.inf).cpu().numpy()
        return left

    def top_k(
        self, log_probs: Tensor, scores: NDArray[np.float64], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """The k best sums per picture with their hypotheses and words, each (B, k).

        `torch.topk` orders equals as it likes, so it finds the k-th best and those that reach it are sorted here.
        """
        sums = self._ship(scores).unsqueeze(2) + log_probs.detach().double()  # (B, K, V)
        bound = sums.flatten(1).topk(k).values[:, -1]  # (B,)
        # "Not below" instead of "at least", so that NaN stays among the candidates and k are always found.
        places = (~(sums < bound[:, None, None])).nonzero()  # (N, 3) in the order of pictures, hypotheses and words
        picture, hypothesis, word = places.unbind(1)
        values: NDArray[np.float64] = sums[picture, hypothesis, word].cpu().numpy()
        found: NDArray[np.int64] = places.cpu().numpy()
        return best_of_candidates(values, found[:, 0] * scores.shape[1] + found[:, 1], found[:, 2], scores.shape, k)

    def mean_probability(self, log_probs: Sequence[Tensor]) -> Tensor:
        """Logarithm of the mean of probabilities (B, K, V)."""
        stacked = torch.stack([one.float() for one in log_probs])  # (M, B, K, V)
        highest = stacked.amax(0)
        highest = highest.masked_fill(highest == -torch.inf, 0)
        return (stacked - highest).exp().mean(0).log() + highest

    def sample(
        self, log_probs: Tensor, noise: NDArray[np.float64], temperature: float, top_k: int, top_p: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Words (B, K) drawn by inverting the cumulated probabilities, and their log-probabilities (B, K)."""
        log_probs = log_probs.detach().float()
        highest = log_probs.amax(2, keepdim=True)
        highest = highest.masked_fill(highest == -torch.inf, 0)
        weights = ((log_probs - highest).double() / temperature).exp()  # (B, K, V), the likeliest 1
        if top_k or top_p < 1:
            weights = _truncate(weights, log_probs, top_k, top_p)
        cumulated = weights.cumsum(2)
        target = self._ship(noise) * cumulated[:, :, -1]  # (B, K), below the total: no float64 below 1 rounds up to it
        words = (cumulated <= target.unsqueeze(2)).sum(2).clamp(max=log_probs.shape[2] - 1)
        values = log_probs.gather(2, words.unsqueeze(2)).squeeze(2).double()
        return words.cpu().numpy(), values.cpu().numpy()

    def numpy(self, array: Tensor) -> NDArray[np.float32]:
        """A copy in numpy float32."""
        values: NDArray[np.float32] = array.detach().float().cpu().numpy()
        return values


def _truncate(weights: Tensor, log_probs: Tensor, top_k: int, top_p: float) -> Tensor:
    """Weights (B, K, V) with all but the likeliest at zero."""
    order = log_probs.sort(dim=2, descending=True, stable=True).indices
    ranked = weights.gather(2, order)
    if top_k:
        ranked[:, :, top_k:] = 0
    if top_p < 1:
        held = ranked.cumsum(2)
        # A word goes where the likelier ones already hold the share.
        ranked[:, :, 1:].masked_fill_(held[:, :, :-1] >= top_p * held[:, :, -1:], 0)
    return torch.zeros_like(weights).scatter(2, order, ranked)
