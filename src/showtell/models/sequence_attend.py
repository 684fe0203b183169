"""Multimodal attentive translator: the regions are a sentence, which is translated into words.

Liu, Sun, Wang, Wang, Yuille: "MAT: A Multimodal Attentive Translator for Image Captioning", IJCAI 2017,
arXiv:1702.05658. One LSTM or GRU reads the regions in their order, and its last state is the state with which another
begins to tell. Before each word the second one looks back at everything that the first made of the regions, by additive
attention, as in translation between languages. In the paper the regions are detected objects; those of a grid are read
row by row. Words are told from state and context together (Luong, Pham, Manning 2015, arXiv:1508.04025, equation 5).

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size as the encoder gives
it, P projected region size, A attention size, E embedding size, H hidden size, G gates, V vocabulary size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from showtell.architectures import SequenceAttendOptions
from showtell.models.additive import AdditiveAttention
from showtell.models.decoder import Decoder, Told, valid_words, word_by_word
from showtell.models.recurrent import RecurrentCell


class SequenceAttendDecoder(Decoder):
    """Regions and the words so far -> the next word. The state is "hidden" and, for the LSTM, "cell"."""

    def __init__(
        self, options: SequenceAttendOptions, region_count: int, region_size: int, vocabulary_size: int
    ) -> None:
        super().__init__()
        self.options = options
        hidden = options.hidden
        self.project = nn.Linear(region_size, options.projection)
        network = nn.LSTM if options.cell == "lstm" else nn.GRU
        self.reader = network(options.projection, hidden, batch_first=True)
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        self.attention = AdditiveAttention(hidden, hidden, options.attention)
        self.cell = RecurrentCell(options.cell, {"word": options.embedding, "context": hidden}, hidden)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.words = nn.Linear(hidden, vocabulary_size)

        self.dropout = nn.Dropout(options.dropout)
        self.region_dropout = nn.Dropout(options.region_dropout)
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1."""
        regions = self.project(self.region_dropout(regions))  # (B, R, P)
        # In float32 under autocast too: the state must not lose bits at every region.
        with torch.autocast(regions.device.type, enabled=False):
            # (B, R, H), (1, B, H) each
            told, last = self.reader(regions.float()) if mask is None else self.read_real(regions.float(), mask)
        memory = {"regions": told, "keys": self.attention.key(told)}  # (B, R, H), (B, R, A)
        if mask is not None:
            memory["mask"] = mask
        parts = last if isinstance(last, tuple) else (last,)  # hidden state and, of an LSTM, cell
        # Not `transpose`: torch 2.11 exports an LSTM's last state with a false rank, which only `view` survives.
        state = (part.view(regions.shape[0], 1, -1) for part in parts)  # (B, 1, H) each
        return memory, dict(zip(self.cell.state_names, state, strict=True))

    def read_real(self, regions: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Read only the regions (B, R, P) where `mask` (B, R) is true, as if there were no others between them."""
        # One by one, a masked one leaving the state as it is: ONNX knows nothing of torch's packed sequences.
        state = tuple(regions.new_zeros(1, regions.shape[0], self.options.hidden) for _ in self.cell.state_names)
        told = []
        for region, real in zip(regions.unbind(1), mask.unbind(1), strict=True):
            _, last = self.reader(region.unsqueeze(1), state if len(state) > 1 else state[0])  # (1, B, H) each
            parts = last if isinstance(last, tuple) else (last,)
            state = tuple(torch.where(real.view(1, -1, 1), new, old) for new, old in zip(parts, state, strict=True))
            told.append(state[0].view(-1, self.options.hidden))  # (B, H)
        return torch.stack(told, 1), state  # (B, R, H), (1, B, H) each

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        gates = self.cell.inputs["word"](self.dropout(self.embed(tokens)))  # (B, K, G * H)
        new, (hidden, context, attention) = self.next_word(gates, dict(state), dict(memory))
        logits = self.words(self.before_words(hidden, context))  # (B, K, V)
        return logits.log_softmax(-1), new, attention

    def next_word(
        self, gates: Tensor, state: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Gates of the last word (B, K, G * H), state -> new state; hidden, context (B, K, H), attention (B, K, R)."""
        context, attention = self.attention(state["hidden"], memory["keys"], memory["regions"], memory.get("mask"))
        new = self.cell(self.cell.inputs["context"](context) + gates, state)
        return new, (new["hidden"], context, attention)

    def before_words(self, hidden: Tensor, context: Tensor) -> Tensor:
        """Hidden state and context (..., H) -> what the words are told from (..., H)."""
        combined: Tensor = self.combine(torch.cat((hidden, context.to(hidden.dtype)), -1))
        dropped: Tensor = self.dropout(combined.tanh())
        return dropped

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        memory, state = self.start(regions, mask)
        gates = self.cell.inputs["word"](self.dropout(self.embed(tokens)))  # (B, K, T, G * H)
        # (B, K, T, H), (B, K, T, H), (B, K, T, R)
        hidden, context, attention = word_by_word(self.next_word, gates, state, memory, lengths)
        valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
        told = self.before_words(hidden[valid], context[valid])  # (N, H)
        return Told(self.words(told), attention * valid.unsqueeze(3))
