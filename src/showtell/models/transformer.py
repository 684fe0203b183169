"""A transformer decoder: every word looks at the words before it and at the picture, without any recurrence.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: "Attention Is All You Need", NeurIPS 2017,
arXiv:1706.03762; with each part's norm before it instead of behind it ("pre-norm"), of Xiong et al. 2020,
arXiv:2002.04745, which learns without a long warm-up. Places of words and of regions are learnt vectors.

While a caption is told word by word, the keys and values of its earlier words stay in the state (a "key/value cache").
It has room for `max_words` from the beginning, so that no shape ever changes. Those of the regions are made once.

B pictures, K captions of each (beams, samples or references), T words, W places for words (`max_words`), R regions,
D region size as the encoder gives it, H hidden size, S heads, d head size, so that H = S * d, F feed-forward size,
V vocabulary size, N words of all captions, Q queries, M what they may look at.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from showtell.architectures import TransformerOptions
from showtell.errors import RecipeError
from showtell.models.decoder import Decoder, Told, valid_words
from showtell.vocabulary import END


class TransformerDecoder(Decoder):
    """Regions and the words so far -> the next word.

    The state is "position" (B, K, 1), the number of words read, and "keys0", "values0", "keys1", ... (B, K, S, W, d),
    what each layer keeps of them; all float32. When every place is taken, only the end mark can follow.
    """

    ended: Tensor

    def __init__(self, options: TransformerOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.options = options
        hidden = options.hidden
        self.project = nn.Linear(region_size, hidden)
        self.places = nn.Parameter(torch.randn(region_count, hidden) * 0.1) if options.places else None
        self.region_norm = nn.LayerNorm(hidden)
        self.embed = nn.Embedding(vocabulary_size, hidden)
        self.positions = nn.Parameter(torch.randn(options.max_words, hidden) * 0.3)
        self.layers = cast("Sequence[Layer]", nn.ModuleList(Layer(options) for _ in range(options.layers)))
        self.norm = nn.LayerNorm(hidden)
        self.words = nn.Linear(hidden, vocabulary_size)

        self.dropout = nn.Dropout(options.dropout)
        self.region_dropout = nn.Dropout(options.region_dropout)
        # Small, as words told need it; `read` makes words read larger by the same factor, so one table serves both.
        nn.init.normal_(self.embed.weight, std=hidden**-0.5)
        nn.init.zeros_(self.words.bias)
        if options.tie_embedding:
            self.words.weight = self.embed.weight
        ended = torch.full((vocabulary_size,), -torch.inf)
        ended[END] = 0
        self.register_buffer("ended", ended, persistent=False)  # log-probabilities when every place is taken

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1.

        The memory is what each layer sees of the regions, "keys0", "values0", "keys1", ... (B, S, R, d).
        """
        regions = self.project(self.region_dropout(regions))  # (B, R, H)
        if self.places is not None:
            regions = regions + self.places
        regions = self.region_norm(regions)
        memory = {} if mask is None else {"mask": mask}
        state = {"position": regions.new_zeros(regions.shape[0], 1, 1)}
        size = self.options.hidden // self.options.heads
        for i, layer in enumerate(self.layers):
            memory[f"keys{i}"], memory[f"values{i}"] = layer.of_regions(regions).transpose(1, 3).unbind(2)
            for name in (f"keys{i}", f"values{i}"):
                state[name] = regions.new_zeros(regions.shape[0], 1, layer.heads, self.options.max_words, size)
        return memory, state

    def read(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens (...) and the vectors of their positions (..., H) -> what the first layer gets (..., H)."""
        words = self.embed(tokens) * self.options.hidden**0.5  # section 3.4 of Vaswani et al.
        dropped: Tensor = self.dropout(words + positions)
        return dropped

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, ...) -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        position = state["position"]  # (B, K, 1)
        places = torch.arange(self.options.max_words, device=tokens.device)  # (W,)
        here = places == position  # (B, K, W), nowhere when every place is taken
        told = (places <= position)[:, :, None, None]  # (B, K, 1, 1, W)
        x = self.read(tokens, here.to(position.dtype) @ self.positions)  # (B, K, H)
        new = {"position": (position + 1).clamp(max=self.options.max_words)}
        for i, layer in enumerate(self.layers):
            query, key, value = layer.of_word(x).unsqueeze(-2).unbind(2)  # (B, K, S, 1, d) each
            for name, part in (("keys", key), ("values", value)):
                new[f"{name}{i}"] = torch.where(here[:, :, None, :, None], part, state[f"{name}{i}"])
            found, _ = attend(query, new[f"keys{i}"], new[f"values{i}"], told)  # (B, K, S, 1, d)
            x = layer.take_from_words(x, found.flatten(2))
            seen = memory[f"keys{i}"], memory[f"values{i}"], memory.get("mask")
            found, attention = layer.look(layer.at_regions(x), *seen)
            x = layer.feed(layer.take_from_regions(x, found))
        log_probs = self.words(self.norm(x)).log_softmax(-1)  # (B, K, V)
        return torch.where(position < self.options.max_words, log_probs, self.ended), new, attention.mean(1)

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`. Raises `RecipeError` where a caption is longer than the places for words.

        What becomes of a word by itself is computed for the N words that there are, one after the other; captions are
        padded to one length, T from here on, only where words look at each other or at the regions.
        """
        longest = int(lengths.max())
        if longest > self.options.max_words:
            raise RecipeError(
                f"a caption has {longest - 1} words, expected {self.options.max_words - 1} at most: decoder.max_words "
                f"is {self.options.max_words}, a mark included; set it higher, or training.max_words lower"
            )
        memory, _ = self.start(regions, mask)
        valid = valid_words(lengths, longest)  # (B, K, T)
        where = valid.flatten().nonzero().squeeze(1)  # (N,)

        def pad(words: Tensor) -> Tensor:  # (N, ...) -> (B, K, T, ...)
            zeros = words.new_zeros(valid.numel(), *words.shape[1:])
            return zeros.index_copy(0, where, words).view(*valid.shape, *words.shape[1:])

        def pack(padded: Tensor) -> Tensor:  # (B, K * T or K, T, H) -> (N, H)
            return padded.reshape(-1, self.options.hidden)[where]

        x = self.read(tokens[:, :, :longest].flatten()[where], self.positions[where % longest])  # (N, H)
        told = valid.new_ones(longest, longest).tril()  # no word looks at a later one
        for i, layer in enumerate(self.layers):
            query, key, value = pad(layer.of_word(x)).transpose(2, 4).unbind(3)  # (B, K, S, T, d) each
            found, _ = attend(query, key, value, told)
            x = layer.take_from_words(x, pack(found.transpose(2, 3)))
            asked = pad(layer.at_regions(x)).flatten(1, 2)  # (B, K * T, H)
            found, attention = layer.look(asked, memory[f"keys{i}"], memory[f"values{i}"], mask)
            x = layer.feed(layer.take_from_regions(x, pack(found)))
        attention = attention.mean(1).view(*valid.shape, -1) * valid.unsqueeze(3)  # (B, K, T, R)
        rest = (0, 0, 0, tokens.shape[2] - longest)
        return Told(self.words(self.norm(x)), nn.functional.pad(attention, rest))


class Layer(nn.Module):
    """Look at earlier words, look at the regions, think: three parts, each with its norm before it, added to x."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        hidden = options.hidden
        self.heads = options.heads
        self.word_norm = nn.LayerNorm(hidden)
        self.word = nn.Linear(hidden, 3 * hidden)  # to query, key and value
        self.word_out = nn.Linear(hidden, hidden)
        self.region_norm = nn.LayerNorm(hidden)
        self.region_query = nn.Linear(hidden, hidden)
        self.region = nn.Linear(hidden, 2 * hidden)  # to key and value
        self.region_out = nn.Linear(hidden, hidden)
        self.feed_norm = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, options.feed_forward)
        self.narrow = nn.Linear(options.feed_forward, hidden)
        self.dropout = nn.Dropout(options.dropout)

    def of_word(self, x: Tensor) -> Tensor:
        """Words (..., H) -> query, key and value of each (..., 3, S, d)."""
        return self.split(self.word(self.word_norm(x)), 3)

    def take_from_words(self, x: Tensor, found: Tensor) -> Tensor:
        """Words (..., H) and what they found among the earlier ones (..., H) -> (..., H)."""
        return x + cast(Tensor, self.dropout(self.word_out(found)))

    def of_regions(self, regions: Tensor) -> Tensor:
        """Regions (B, R, H) -> key and value of each (B, R, 2, S, d)."""
        return self.split(self.region(regions), 2)

    def at_regions(self, x: Tensor) -> Tensor:
        """Words (..., H) -> what each asks the regions (..., H)."""
        query: Tensor = self.region_query(self.region_norm(x))
        return query

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries (B, Q, H), keys and values (B, S, R, d), mask (B, R) -> found (B, Q, H), attention (B, S, Q, R)."""
        allowed = None if mask is None else mask[:, None, None]  # (B, 1, 1, R)
        heads = self.split(query, 1).squeeze(-3).transpose(1, 2)  # (B, S, Q, d)
        found, attention = attend(heads, keys, values, allowed)
        return found.transpose(1, 2).flatten(2), attention

    def take_from_regions(self, x: Tensor, found: Tensor) -> Tensor:
        """Words (..., H) and what they found in the picture (..., H) -> (..., H)."""
        return x + cast(Tensor, self.dropout(self.region_out(found)))

    def feed(self, x: Tensor) -> Tensor:
        """Words (..., H) -> (..., H), each by itself."""
        return x + cast(Tensor, self.dropout(self.narrow(self.widen(self.feed_norm(x)).relu())))

    def split(self, x: Tensor, parts: int) -> Tensor:
        """(..., parts * H) -> (..., parts, S, d)."""
        return x.view(*x.shape[:-1], parts, self.heads, x.shape[-1] // (parts * self.heads))


def attend(query: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Queries (..., Q, d), keys and values (..., M, d) -> found (..., Q, d), attention (..., Q, M), which sums to 1.

    Only where `allowed` (..., Q, M) is true, or everywhere.
    """
    energy = query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5  # (..., Q, M)
    if allowed is not None:
        energy = energy.masked_fill(~allowed, -torch.inf)
    attention = energy.softmax(-1)
    return attention.to(values.dtype) @ values, attention
