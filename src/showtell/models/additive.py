"""Additive attention, of Bahdanau, Cho and Bengio 2015, arXiv:1409.0473.

B pictures, K captions of each, R regions, P region size, A attention size, H hidden size.
"""

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """A hidden state looks for regions: score = v . tanh(W1 region + W2 hidden)."""

    def __init__(self, region_size: int, hidden_size: int, attention_size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.key = nn.Linear(region_size, attention_size)  # W1, once for a picture
        self.query = nn.Linear(hidden_size, attention_size)  # W2, anew for each word
        self.energy = nn.Linear(attention_size, 1, bias=bias)  # v; a bias changes no attention

    def forward(
        self, hidden: Tensor, keys: Tensor, regions: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden (B, K, H), keys (B, R, A), regions (B, R, P) -> context (B, K, P), attention (B, K, R), its sum 1.

        `keys` are `self.key(regions)`; regions where `mask` (B, R) is false get no attention.
        """
        query = self.query(hidden).unsqueeze(2)  # (B, K, 1, A)
        energy = self.energy((keys.unsqueeze(1) + query).tanh()).squeeze(3)  # (B, K, R)
        if mask is not None:
            energy = energy.masked_fill(~mask.unsqueeze(1), -torch.inf)
        attention = energy.softmax(2)
        context = attention.to(regions.dtype) @ regions  # (B, K, P)
        return context, attention
