"""Show and Tell: the picture is the first word that an LSTM reads.

Vinyals, Toshev, Bengio, Erhan: "Show and Tell: A Neural Image Caption Generator", CVPR 2015, arXiv:1411.4555. One
vector for a picture is mapped to the size of a word's embedding and read from a zero state; the state after it is where
the sentence begins.

B pictures, K captions of each, M captions in all, T words, N words told in all, D region size as the encoder gives it,
E embedding size, H hidden size, V vocabulary size.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from showtell.architectures import ShowAndTellOptions
from showtell.models.decoder import Decoder, Told, one_region, valid_words
from showtell.models.recurrent import RecurrentStack
from showtell.vocabulary import START


class ShowAndTellDecoder(Decoder):
    """One vector for a picture and the words so far -> the next word. For options see `ShowAndTellOptions`."""

    def __init__(self, options: ShowAndTellOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__()
        one_region(options.architecture, region_count)
        self.options = options
        self.picture = nn.Linear(region_size, options.embedding)
        self.embed = nn.Embedding(vocabulary_size, options.embedding)
        self.stack = RecurrentStack("lstm", options.embedding, options.hidden, options.layers)
        self.words = nn.Linear(options.hidden, vocabulary_size)
        self.dropout = nn.Dropout(options.dropout)
        nn.init.zeros_(self.words.bias)

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, 1, D) -> no memory, and the state (B, 1, H) each after reading the picture. See `Decoder`."""
        return {}, self.read_picture(regions)[1]

    def read_picture(self, regions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Regions (B, 1, D) -> hidden state of the top layer (B, 1, H), state (B, 1, H) each."""
        picture = self.picture(regions)  # (B, 1, E)
        top, state = self.stack(picture, self.stack.zero_state(regions))
        return top, state

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, H) each -> log-probabilities (B, K, V), new state, attention (B, K, 1) of one."""
        top, new = self.stack(self.dropout(self.embed(tokens)), state)  # (B, K, H)
        log_probs = self.words(self.dropout(top)).log_softmax(-1)  # (B, K, V)
        return log_probs, new, top.new_ones(*tokens.shape, 1)

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`. `extra` is the loss of telling the start mark after the picture, if that is wanted."""
        valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
        there = lengths > 0  # (B, K), M of them
        picture_of = there.nonzero()[:, 0]  # (M,), of each caption
        seen, state = self.read_picture(regions)
        state = {name: value[picture_of, 0] for name, value in state.items()}  # (M, H)
        embedding = self.dropout(self.embed(tokens[there]))  # (M, T, E)
        top = self.stack.sentences(embedding, lengths[there], state)  # (M, T, H)
        logits = self.words(self.dropout(top[valid[there]]))  # (N, V)
        extra = self._start_loss(seen, lengths) if self.options.tell_start else None
        return Told(logits, valid.unsqueeze(3).to(top.dtype), extra)

    def _start_loss(self, seen: Tensor, lengths: Tensor) -> Tensor:
        """Hidden state after the picture (B, 1, H) -> cross-entropy of the start mark, summed over captions, over N.

        The tutorial takes one mean over all that is told, where each caption is one word longer, the start mark. Over N
        as the loss of the words is, not over captions, the mark of a caption weighs as much as each of its words: both
        together are the tutorial's loss times (N + M) / N.
        """
        log_probs = self.words(self.dropout(seen[:, 0])).float().log_softmax(1)  # (B, V)
        captions = (lengths > 0).sum(1)  # (B,), a picture's captions all tell the mark from the same state
        loss: Tensor = -(log_probs[:, START] * captions).sum() / lengths.sum()
        return loss
