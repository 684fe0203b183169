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
from showtell.models.decoder import Decoder, Told, valid_words
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

        self.key = nn.Linear(projected, options.attention)
        self.query = nn.Linear(options.hidden, options.attention)
        self.energy = nn.Linear(options.attention, 1, bias=options.attention_bias)
        self.gate = nn.Linear(options.hidden, projected) if options.gate else None

        self.cell = RecurrentCell(options.cell, projected + options.embedding, options.hidden)
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
        # torch draws embeddings from N(0, 1), far too large beside gates of size 0.1, and for a table shared with the
        # words.
        nn.init.normal_(self.embed.weight, std=0.1 if not options.tie_embedding else options.embedding**-0.5)
        nn.init.zeros_(self.words.bias)
        if options.tie_embedding:
            self.words.weight = self.embed.weight

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1."""
        regions = self.project_activation(self.project(self.region_dropout(regions)))  # (B, R, P)
        if self.places is not None:
            regions = regions + self.places
        memory = {"regions": regions, "keys": self.key(regions)}  # (B, R, P), (B, R, A)
        if mask is None:
            mean = regions.mean(1, keepdim=True)  # (B, 1, P)
        else:
            memory["mask"] = mask
            real = mask.unsqueeze(2).to(regions.dtype)  # (B, R, 1)
            mean = (regions * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        state = {
            name: self.initial[name](mean).tanh()
            if name in self.initial
            else mean.new_zeros(mean.shape[0], 1, self.options.hidden)
            for name in self.cell.state_names
        }  # each (B, 1, H)
        return memory, state

    def attend(self, hidden: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden state (B, K, H) -> context (B, K, P) and attention (B, K, R), which sums to 1."""
        query = self.query(hidden).unsqueeze(2)  # (B, K, 1, A)
        keys = memory["keys"].unsqueeze(1)  # (B, 1, R, A)
        energy = self.energy((keys + query).tanh()).squeeze(3)  # (B, K, R)
        if "mask" in memory:
            energy = energy.masked_fill(~memory["mask"].unsqueeze(1), -torch.inf)
        attention = energy.softmax(2)
        context = attention.to(memory["regions"].dtype) @ memory["regions"]  # (B, K, P)
        if self.gate is not None:
            context = self.gate(hidden).sigmoid() * context
        return context, attention

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        embedding = self.embed(tokens)  # (B, K, E)
        context, attention = self.attend(state["hidden"], memory)
        gates = self.cell.inputs(context, 0, bias=True) + self.cell.inputs(embedding, context.shape[-1])
        new = self.cell(gates, dict(state))
        logits = self.words(self.before_words(embedding, new["hidden"], context))  # (B, K, V)
        return logits.log_softmax(-1), new, attention

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
        captions, steps = tokens.shape[1:]
        embedding = self.dropout(self.embed(tokens))  # (B, K, T, E)
        context_size = memory["regions"].shape[2]
        gates = self.cell.inputs(embedding, context_size, bias=True)  # (B, K, T, G * H)
        state = {name: value.expand(-1, captions, -1) for name, value in state.items()}  # (B, K, H)
        hiddens, contexts, attentions = [], [], []
        # Longest first, so that at step t only the first `alive` captions of each picture are still being told.
        alive_at = (lengths.max(0).values.unsqueeze(0) > torch.arange(steps, device=lengths.device).unsqueeze(1)).sum(1)
        for t, alive in enumerate(alive_at.tolist()):
            if alive == 0:
                steps = t
                break
            state = {name: value[:, :alive] for name, value in state.items()}
            context, attention = self.attend(state["hidden"], memory)
            state = self.cell(self.cell.inputs(context, 0) + gates[:, :alive, t], state)
            rest = (0, 0, 0, captions - alive)
            hiddens.append(nn.functional.pad(state["hidden"], rest))
            contexts.append(nn.functional.pad(context, rest))
            attentions.append(nn.functional.pad(attention, rest))
        valid = valid_words(lengths, steps)  # (B, K, T)
        told = self.before_words(
            embedding[:, :, :steps][valid], torch.stack(hiddens, 2)[valid], torch.stack(contexts, 2)[valid]
        )  # (N, E)
        attention = torch.stack(attentions, 2) * valid.unsqueeze(3)  # (B, K, T, R)
        return Told(self.words(told), attention)
