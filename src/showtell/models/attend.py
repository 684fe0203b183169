"""Show, Attend and Tell: an LSTM or GRU that looks at the picture anew for each word.

Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel, Bengio: "Show, Attend and Tell: Neural Image Caption Generation
with Visual Attention", ICML 2015, arXiv:1502.03044 (the deterministic "soft" attention). The attention is additive, of
Bahdanau, Cho and Bengio 2015, arXiv:1409.0473.

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size as the encoder gives
it, P projected region size, A attention size, E embedding size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from showtell.architectures import AttendOptions
from showtell.models.additive import AdditiveAttention
from showtell.models.decoder import Decoder, Told, mean_region, valid_words, word_by_word
from showtell.models.recurrent import RecurrentCell


class AttendDecoder(Decoder):
    """Regions and the words so far -> the next word. `options` name every choice; see `AttendOptions`."""

    def __init__(self, options: AttendOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.options = options
        projected = options.projection or region_size
        self.project = nn.Linear(region_size, projected) if options.projection else nn.Identity()
        activated = options.projection and options.projection_activation == "relu"
        self.project_activation = nn.ReLU() if activated else nn.Identity()
        self.places = nn.Parameter(torch.randn(region_count, projected) * 0.1) if options.places else None
        self.embed = nn.Embedding(vocabulary_size, options.embedding)

        self.attention = AdditiveAttention(projected, options.hidden, options.attention, bias=options.attention_bias)
        self.gate = nn.Linear(options.hidden, projected) if options.gate else None

        self.cell = RecurrentCell(options.cell, {"word": options.embedding, "context": projected}, options.hidden)
        self.initial = nn.ModuleDict(
            {name: nn.Linear(projected, options.hidden) for name in self.cell.state_names}
            if options.initial_state == "mean"
            else {}
        )
        deep = options.output == "deep" or options.tie_embedding
        told = options.embedding if deep else options.hidden  # size of what the words are told from
        self.hidden_to_word = (
            nn.Identity() if options.output == "hidden" and not deep else nn.Linear(options.hidden, told)
        )
        self.context_to_word = nn.Linear(projected, options.embedding, bias=False) if options.output == "deep" else None
        self.words = nn.Linear(told, vocabulary_size)

        self.dropout = nn.Dropout(options.dropout)
        self.region_dropout = nn.Dropout(options.region_dropout)
        # torch draws embeddings from N(0, 1): too large for what is added to what words are told from ("deep"), and for
        # a table shared with the words.
        nn.init.normal_(self.embed.weight, std=0.1 if not options.tie_embedding else options.embedding**-0.5)
        nn.init.zeros_(self.words.bias)
        if options.tie_embedding:
            self.words.weight = self.embed.weight

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1."""
        regions = self.project_activation(self.project(self.region_dropout(regions)))  # (B, R, P)
        if self.places is not None:
            regions = regions + self.places
        memory = {"regions": regions, "keys": self.attention.key(regions)}  # (B, R, P), (B, R, A)
        if mask is not None:
            memory["mask"] = mask
        mean = mean_region(regions, mask)  # (B, 1, P)
        state = {
            name: self.initial[name](mean).tanh()
            if name in self.initial
            else mean.new_zeros(mean.shape[0], 1, self.options.hidden)
            for name in self.cell.state_names
        }  # each (B, 1, H)
        return memory, state

    def attend(self, hidden: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden state (B, K, H) -> context (B, K, P) and attention (B, K, R), which sums to 1."""
        context, attention = self.attention(hidden, memory["keys"], memory["regions"], memory.get("mask"))
        if self.gate is not None:
            context = self.gate(hidden).sigmoid() * context
        return context, attention

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        embedding = self.dropout(self.embed(tokens))  # (B, K, E)
        new, (hidden, context, attention) = self.next_word(
            self.cell.inputs["word"](embedding), dict(state), dict(memory)
        )
        logits = self.words(self.before_words(embedding, hidden, context))  # (B, K, V)
        return logits.log_softmax(-1), new, attention

    def next_word(
        self, gates: Tensor, state: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Gates of the last word (B, K, G * H), state -> new state; hidden, context (B, K, P), attention (B, K, R)."""
        context, attention = self.attend(state["hidden"], memory)
        new = self.cell(self.cell.inputs["context"](context) + gates, state)
        return new, (new["hidden"], context, attention)

    def before_words(self, embedding: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """What the words are told from: (..., E), or (..., H) where the hidden state alone tells them."""
        told: Tensor = self.hidden_to_word(hidden)
        if self.context_to_word is not None:
            told = told + embedding + self.context_to_word(context)
        dropped: Tensor = self.dropout(told)
        return dropped

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        return self.tell(*self.start(regions, mask), tokens, lengths)

    def tell(self, memory: dict[str, Tensor], state: dict[str, Tensor], tokens: Tensor, lengths: Tensor) -> Told:
        """`forward` from what `start` gives."""
        embedding = self.dropout(self.embed(tokens))  # (B, K, T, E)
        # (B, K, T, H), (B, K, T, P), (B, K, T, R)
        hidden, context, attention = word_by_word(
            self.next_word, self.cell.inputs["word"](embedding), state, memory, lengths
        )
        valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
        told = self.before_words(embedding[valid], hidden[valid], context[valid])  # (N, E)
        return Told(self.words(told), attention * valid.unsqueeze(3))
