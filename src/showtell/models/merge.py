"""Merge: an LSTM reads the words alone, and only behind it the words meet the picture.

Tanti, Gatt, Camilleri: "What is the role of recurrent neural networks (RNNs) in an image caption generator?", INLG
2017, arXiv:1708.02043. Here, as in the well-known Keras model, the merged pairs of picture and word are read by two
more LSTMs, of which the second tells the next word.

The Keras model is trained on prefixes: one forward pass for each word, and only the last state's prediction counts. No
LSTM looks ahead, so the states of one pass over the sentence are the last states of all its prefixes, and all words are
trained at once. The picture's map has a ReLU, the words' map no activation.

B pictures, K captions of each, M captions in all, T words, N words told in all, D region size as the encoder gives it,
E embedding size, P picture size, L language size, W word size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from showtell.architectures import MergeOptions
from showtell.models.decoder import Decoder, Told, one_region, valid_words
from showtell.models.recurrent import RecurrentStack


class MergeDecoder(Decoder):
    """One vector for a picture and the words so far -> the next word. For options see `MergeOptions`."""

    def __init__(self, options: MergeOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        one_region(options.architecture, region_count)
        self.options = options
        self.picture = nn.Linear(region_size, options.picture)
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        self.language = RecurrentStack("lstm", options.embedding, options.language, first=0)
        self.word = nn.Linear(options.language, options.word)
        self.merged = RecurrentStack("lstm", options.picture + options.word, options.merged, first=1)
        self.teller = RecurrentStack("lstm", options.merged, options.hidden, first=2)
        self.words = nn.Linear(options.hidden, vocabulary_size)
        self.dropout = nn.Dropout(options.dropout)
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, 1, D) -> memory, the mapped picture (B, P); state zero, (B, 1, L or H) each. See `Decoder`."""
        memory = {"picture": self.dropout(self.picture(regions[:, 0]).relu())}  # (B, P)
        state: dict[str, Tensor] = {}
        for stack in (self.language, self.merged, self.teller):
            state |= stack.zero_state(regions)
        return memory, state

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, ...) -> log-probabilities (B, K, V), new state, attention (B, K, 1) of one."""
        language, new_language = self.language(self.embed(tokens), state)  # (B, K, L)
        word = self.word(self.dropout(language))  # (B, K, W)
        picture = memory["picture"].unsqueeze(1).expand(*tokens.shape, -1)  # (B, K, P)
        merged, new_merged = self.merged(torch.cat([picture, word], -1), state)
        top, new_teller = self.teller(merged, state)  # (B, K, H)
        log_probs = self.words(top).log_softmax(-1)  # (B, K, V)
        return log_probs, new_language | new_merged | new_teller, top.new_ones(*tokens.shape, 1)

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        steps = tokens.shape[2]
        valid = valid_words(lengths, steps)  # (B, K, T)
        there = lengths > 0  # (B, K), M of them
        picture_of = there.nonzero()[:, 0]  # (M,), of each caption
        memory, state = self.start(regions)
        state = {name: value[picture_of, 0] for name, value in state.items()}  # (M, L or H)
        tokens, lengths = tokens[there], lengths[there]  # (M, T), (M,)

        language = self.language.sentences(self.embed(tokens), lengths, state)  # (M, T, L)
        word = self.word(self.dropout(language))  # (M, T, W)
        picture = memory["picture"][picture_of].unsqueeze(1).expand(-1, steps, -1)  # (M, T, P)
        merged = self.merged.sentences(torch.cat([picture, word], -1), lengths, state)
        top = self.teller.sentences(merged, lengths, state)  # (M, T, H)
        logits = self.words(top[valid[there]])  # (N, V)
        return Told(logits, valid.unsqueeze(3).to(top.dtype))
