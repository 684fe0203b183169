"""Bottom-up and top-down attention: one LSTM decides where to look, a second one tells the word.

Anderson, He, Buehler, Teney, Johnson, Gould, Zhang: "Bottom-Up and Top-Down Attention for Image Captioning and Visual
Question Answering", CVPR 2018, arXiv:1707.07998. "Bottom-up" are the regions, in the paper those of a detector of
objects, here whatever the encoder or a file of features gives; "top-down" is the decoder below. Its attention is asked
by the first LSTM's new state, which has read the word before: the region is chosen for the word that comes.

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size, A attention size,
E embedding size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from showtell.architectures import UpDownOptions
from showtell.models.additive import AdditiveAttention
from showtell.models.decoder import Decoder, Told, valid_words
from showtell.models.recurrent import RecurrentCell


class UpDownDecoder(Decoder):
    """Regions and the words so far -> the next word.

    The state is that of both LSTMs: "hidden0" and "cell0" of the one that looks, "hidden1" and "cell1" of the one that
    tells, each (B, K, H).
    """

    def __init__(self, options: UpDownOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.options = options
        self.region_size = region_size
        hidden = options.hidden
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        # The paper's "attention LSTM" reads the other one's last state, the mean region and the last word.
        self.look = RecurrentCell("lstm", hidden + region_size + options.embedding, hidden)
        self.attention = AdditiveAttention(region_size, hidden, options.attention)
        # Its "language LSTM" reads the attended region and the new state of the first.
        self.tell = RecurrentCell("lstm", region_size + hidden, hidden)
        self.words = nn.Linear(hidden, vocabulary_size)

        self.dropout = nn.Dropout(options.dropout)
        self.region_dropout = nn.Dropout(options.region_dropout)
        nn.init.normal_(self.embed.weight, std=0.1)  # torch's N(0, 1) is far too large beside gates of size 0.1
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1."""
        regions = self.region_dropout(regions)
        memory = {"regions": regions, "keys": self.attention.key(regions)}  # (B, R, D), (B, R, A)
        if mask is None:
            mean = regions.mean(1, keepdim=True)  # (B, 1, D)
        else:
            memory["mask"] = mask
            real = mask.unsqueeze(2)  # (B, R, 1)
            mean = regions.masked_fill(~real, 0).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        # What the mean region adds to the gates of the LSTM that looks is the same for every word.
        memory["gates"] = self.look.inputs(mean, self.options.hidden, bias=True)  # (B, 1, 4 * H)
        zeros = mean.new_zeros(mean.shape[0], 1, self.options.hidden)
        return memory, {name: zeros.clone() for name in ("hidden0", "cell0", "hidden1", "cell1")}

    def word_gates(self, embedding: Tensor) -> Tensor:
        """What words (..., E) add to the gates of the LSTM that looks: (..., 4 * H)."""
        return self.look.inputs(embedding, self.options.hidden + self.region_size)

    def next_state(
        self, gates: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Gates of the last word and the mean region (B, K, 4 * H), state -> new state, attention (B, K, R)."""
        looking = self.look(
            gates + self.look.inputs(state["hidden1"], 0), {"hidden": state["hidden0"], "cell": state["cell0"]}
        )
        context, attention = self.attention(looking["hidden"], memory["keys"], memory["regions"], memory.get("mask"))
        gates = self.tell.inputs(context, 0, bias=True) + self.tell.inputs(looking["hidden"], context.shape[2])
        telling = self.tell(gates, {"hidden": state["hidden1"], "cell": state["cell1"]})
        new = {
            "hidden0": looking["hidden"],
            "cell0": looking["cell"],
            "hidden1": telling["hidden"],
            "cell1": telling["cell"],
        }
        return new, attention

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        gates = self.word_gates(self.dropout(self.embed(tokens))) + memory["gates"]  # (B, K, 4 * H)
        new, attention = self.next_state(gates, state, memory)
        logits = self.words(self.dropout(new["hidden1"]))  # (B, K, V)
        return logits.log_softmax(-1), new, attention

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        captions, steps = tokens.shape[1:]
        memory, state = self.start(regions, mask)
        gates = self.word_gates(self.dropout(self.embed(tokens))) + memory["gates"].unsqueeze(2)  # (B, K, T, 4 * H)
        state = {name: value.expand(-1, captions, -1) for name, value in state.items()}  # (B, K, H)
        hiddens, attentions = [], []
        # Longest first, so that at step t only the first `alive` captions of each picture are still being told.
        alive_at = (lengths.max(0).values.unsqueeze(0) > torch.arange(steps, device=lengths.device).unsqueeze(1)).sum(1)
        for t, alive in enumerate(alive_at.tolist()):
            state, attention = self.next_state(
                gates[:, :alive, t], {name: value[:, :alive] for name, value in state.items()}, memory
            )
            rest = (0, 0, 0, captions - alive)
            hiddens.append(nn.functional.pad(state["hidden1"], rest))
            attentions.append(nn.functional.pad(attention, rest))
        valid = valid_words(lengths, steps)  # (B, K, T)
        told = self.dropout(torch.stack(hiddens, 2)[valid])  # (N, H)
        return Told(self.words(told), torch.stack(attentions, 2) * valid.unsqueeze(3))
