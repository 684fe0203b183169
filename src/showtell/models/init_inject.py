"""Init-inject: the picture is where a stack of GRUs begins, the words are all that it reads.

Tanti, Gatt, Camilleri: "Where to put the image in an image caption generator", 2018, arXiv:1703.09137, which names it.
One vector for a picture (such as VGG16's fc2) goes through dense layers with tanh to the size of the hidden state, and
that one vector starts every layer; of an LSTM both the hidden state and the cell.

B pictures, K captions of each, M captions in all, T words, N words told in all, D region size as the encoder gives it,
E embedding size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from showtell.architectures import InitInjectOptions
from showtell.models.decoder import Decoder, Told, one_region, valid_words
from showtell.models.recurrent import RecurrentStack


class InitInjectDecoder(Decoder):
    """One vector for a picture and the words so far -> the next word. For options see `InitInjectOptions`."""

    def __init__(self, options: InitInjectOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        one_region(options.architecture, region_count)
        self.options = options
        sizes = [region_size] + [options.hidden] * options.map_layers
        self.map = nn.ModuleList([nn.Linear(size, options.hidden) for size in sizes[:-1]])
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        self.stack = RecurrentStack(options.cell, options.embedding, options.hidden, options.layers)
        self.words = nn.Linear(options.hidden, vocabulary_size)
        self.dropout = nn.Dropout(options.dropout)
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, 1, D) -> no memory, and the initial state (B, 1, H) each, the mapped picture. See `Decoder`."""
        mapped = regions  # (B, 1, D)
        for layer in self.map:
            mapped = layer(mapped).tanh()  # (B, 1, H)
        return {}, dict.fromkeys(self.stack.state_names, mapped)

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, 1) of one."""
        top, new = self.stack(self.dropout(self.embed(tokens)), state)  # (B, K, H)
        log_probs = self.words(self.dropout(top)).log_softmax(-1)  # (B, K, V)
        return log_probs, new, top.new_ones(*tokens.shape, 1)

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
        there = lengths > 0  # (B, K), M of them
        picture = there.nonzero()[:, 0]  # (M,), of each caption
        _, state = self.start(regions)
        state = {name: value[picture, 0] for name, value in state.items()}  # (M, H)
        embedding = self.dropout(self.embed(tokens[there]))  # (M, T, E)
        top = self.stack.sentences(embedding, lengths[there], state)  # (M, T, H)
        logits = self.words(self.dropout(top[valid[there]]))  # (N, V)
        return Told(logits, valid.unsqueeze(3).to(top.dtype))
