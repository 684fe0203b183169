"""Bottom-up and top-down attention: one LSTM decides where to look, a second one tells the word.

Anderson, He, Buehler, Teney, Johnson, Gould, Zhang: "Bottom-Up and Top-Down Attention for Image Captioning and Visual
Question Answering", CVPR 2018, arXiv:1707.07998. "Bottom-up" are the regions, in the paper those of a detector of
objects, here whatever the encoder or a file of features gives; "top-down" is the decoder below. Its attention is asked
by the first LSTM's new state, which has read the word before: the region is chosen for the word that comes.

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size, A attention size,
P region size as the decoder sees it, E embedding size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from showtell.architectures import UpDownOptions
from showtell.models.additive import AdditiveAttention
from showtell.models.decoder import Decoder, Told, mean_region, valid_words, word_by_word
from showtell.models.recurrent import RecurrentCell


class UpDownDecoder(Decoder):
    """Regions and the words so far -> the next word.

    The state is that of both LSTMs: "hidden0" and "cell0" of the one that looks, "hidden1" and "cell1" of the one that
    tells, each (B, K, H).
    """

    def __init__(self, options: UpDownOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.options = options
        hidden, projected = options.hidden, options.projection or region_size
        self.project = (
            nn.Sequential(nn.Linear(region_size, projected), nn.ReLU()) if options.projection else nn.Identity()
        )
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        # The paper's "attention LSTM" reads the other one's last state, the mean region and the last word.
        self.look = RecurrentCell("lstm", {"mean": projected, "told": hidden, "word": options.embedding}, hidden)
        self.attention = AdditiveAttention(projected, hidden, options.attention)
        # Its "language LSTM" reads the attended region and the new state of the first.
        self.tell = RecurrentCell("lstm", {"context": projected, "looked": hidden}, hidden)
        self.words = nn.Linear(hidden, vocabulary_size)

        self.dropout = nn.Dropout(options.dropout)
        self.region_dropout = nn.Dropout(options.region_dropout)
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1."""
        regions = self.project(self.region_dropout(regions))  # (B, R, P)
        memory = {"regions": regions, "keys": self.attention.key(regions)}  # (B, R, P), (B, R, A)
        if mask is not None:
            memory["mask"] = mask
        mean = mean_region(regions, mask)  # (B, 1, P)
        # What the mean region adds to the gates of the LSTM that looks is the same for every word.
        memory["gates"] = self.look.inputs["mean"](mean)  # (B, 1, 4 * H)
        zeros = mean.new_zeros(mean.shape[0], 1, self.options.hidden)
        return memory, {name: zeros.clone() for name in ("hidden0", "cell0", "hidden1", "cell1")}

    def next_word(
        self, gates: Tensor, state: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Gates of the last word and the mean region (B, K, 4 * H), state -> new state; hidden, attention (B, K, R)."""
        looking = self.look(
            gates + self.look.inputs["told"](state["hidden1"]), {"hidden": state["hidden0"], "cell": state["cell0"]}
        )
        context, attention = self.attention(looking["hidden"], memory["keys"], memory["regions"], memory.get("mask"))
        gates = self.tell.inputs["context"](context) + self.tell.inputs["looked"](looking["hidden"])
        telling = self.tell(gates, {"hidden": state["hidden1"], "cell": state["cell1"]})
        new = {
            "hidden0": looking["hidden"],
            "cell0": looking["cell"],
            "hidden1": telling["hidden"],
            "cell1": telling["cell"],
        }
        return new, (telling["hidden"], attention)

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        gates = self.look.inputs["word"](self.dropout(self.embed(tokens))) + memory["gates"]  # (B, K, 4 * H)
        new, (hidden, attention) = self.next_word(gates, dict(state), dict(memory))
        logits = self.words(self.dropout(hidden))  # (B, K, V)
        return logits.log_softmax(-1), new, attention

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`."""
        memory, state = self.start(regions, mask)
        of_words = self.look.inputs["word"](self.dropout(self.embed(tokens)))
        gates = of_words + memory["gates"].unsqueeze(2)  # (B, K, T, 4 * H)
        hidden, attention = word_by_word(self.next_word, gates, state, memory, lengths)  # (B, K, T, H), (B, K, T, R)
        valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
        return Told(self.words(self.dropout(hidden[valid])), attention * valid.unsqueeze(3))
