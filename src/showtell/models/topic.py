"""Topic-guided attention: what a picture is about in general guides where the decoder looks and how it begins.

Zhu, Xue, Yuan: "Topic-Guided Attention for Image Captioning", ICIP 2018, arXiv:1807.03514. The topics are those of the
training captions, found by latent Dirichlet allocation (Blei, Ng, Jordan 2003); a network predicts a picture's topics
from its regions, and the attention's scores get a term of them: v tanh(W1 region + W2 hidden + W3 topic).

B pictures, K captions of each, T words, R regions, P projected region size, A attention size, H hidden size, C topics,
V vocabulary size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from showtell.architectures import TopicOptions
from showtell.errors import DataError, MissingExtraError
from showtell.models.attend import AttendDecoder
from showtell.models.decoder import Told, mean_region
from showtell.vocabulary import SPECIALS

COMMONEST = 0.5  # words in the captions of more than this share of the pictures say nothing of a topic
ROUNDS = 20  # of inferring a picture's topics from its captions


class TopicDecoder(AttendDecoder):
    """`AttendDecoder` with a picture's topics in its attention and its initial state."""

    topic_words: Tensor

    def __init__(self, options: TopicOptions, region_count: int, region_size: int, vocabulary_size: int) -> None:
        super().__init__(options, region_count, region_size, vocabulary_size)
        projected = options.projection or region_size
        self.topic_weight = options.topic_weight
        self.predict = nn.Sequential(
            nn.Linear(projected, options.hidden), nn.ReLU(), nn.Linear(options.hidden, options.topics)
        )
        self.topic_to_key = nn.Linear(options.topics, options.attention, bias=False)
        self.topic_to_state = nn.ModuleDict(
            {name: nn.Linear(options.topics, options.hidden, bias=False) for name in self.cell.state_names}
        )
        # How likely a topic says a word (C, V); all alike until `prepare` has seen the captions.
        self.register_buffer("topic_words", torch.full((options.topics, vocabulary_size), 1 / vocabulary_size))

    def prepare(self, captions: Sequence[Sequence[Sequence[int]]], seed: int) -> None:
        """Find the topics of the training captions, all captions of a picture being one document."""
        self.topic_words.copy_(
            torch.from_numpy(find_topics(captions, len(self.topic_words), self.topic_words.shape[1], seed))
        )

    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See `Decoder.start`; the memory's keys, and the state, know the topics."""
        return self.guided(regions, mask)[:2]

    def guided(
        self, regions: Tensor, mask: Tensor | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Memory and state as `start` gives them, and the scores (B, C) of the picture's topics."""
        memory, state = super().start(regions, mask)
        scores = self.predicted(memory)
        topics = scores.softmax(1)
        memory["keys"] = memory["keys"] + self.topic_to_key(topics).unsqueeze(1)  # (B, R, A)
        for name, layer in self.topic_to_state.items():
            state[name] = state[name] + layer(topics).tanh().unsqueeze(1)  # (B, 1, H)
        return memory, state, scores

    def predicted(self, memory: dict[str, Tensor]) -> Tensor:
        """Scores (B, C) of a picture's topics, from its mean region."""
        mean = mean_region(memory["regions"], memory.get("mask")).squeeze(1)  # (B, P)
        scores: Tensor = self.predict(mean)
        return scores

    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """See `Decoder.forward`; `extra` is the divergence of the predicted topics from those of the captions."""
        memory, state, scores = self.guided(regions, mask)
        true = infer_topics(_counts(tokens, self.topic_words.shape[1]), self.topic_words)  # (B, C)
        divergence = nn.functional.kl_div(scores.float().log_softmax(1), true, reduction="batchmean")
        return self.tell(memory, state, tokens, lengths)._replace(extra=self.topic_weight * divergence)


@torch.no_grad()
def infer_topics(counts: Tensor, topic_words: Tensor) -> Tensor:
    """Words of each picture's captions (B, V) and words of topics (C, V) -> shares of the topics (B, C).

    The fixed point of expectation and maximisation, with a little of every topic.
    """
    shares = counts.new_full((counts.shape[0], topic_words.shape[0]), 1 / topic_words.shape[0])
    for _ in range(ROUNDS):
        likely = (shares @ topic_words).clamp(min=1e-12)  # (B, V)
        shares = shares * ((counts / likely) @ topic_words.T) + 0.1
        shares = shares / shares.sum(1, keepdim=True)
    return shares


def _counts(tokens: Tensor, words: int) -> Tensor:
    """Tokens (B, K, T) -> how often each word occurs in a picture's captions (B, V), marks left out."""
    flat = tokens.flatten(1)
    counts = torch.zeros(len(flat), words, device=tokens.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    counts[:, : len(SPECIALS)] = 0
    return counts


def find_topics(captions: Sequence[Sequence[Sequence[int]]], topics: int, words: int, seed: int) -> NDArray[np.float32]:
    """Latent Dirichlet allocation over pictures' captions as ids -> words of topics (C, V) float32, rows sum to 1."""
    try:
        from scipy.sparse import csr_matrix
        from sklearn.decomposition import LatentDirichletAllocation
    except ImportError as error:
        raise MissingExtraError("topics need scikit-learn: pip install 'showtell[train]'") from error
    documents = [
        [word for caption in of_picture for word in caption if word >= len(SPECIALS)] for of_picture in captions
    ]
    pointers = np.cumsum([0, *map(len, documents)])
    ids = np.fromiter((word for document in documents for word in document), np.int64, pointers[-1])
    counts = csr_matrix((np.ones(len(ids), np.float32), ids, pointers), (len(documents), words))
    counts.sum_duplicates()
    held = np.bincount(counts.indices, minlength=words)  # in how many pictures' captions a word occurs
    telling = (held >= 2) & (held <= COMMONEST * len(documents))
    if telling.sum() < topics:
        raise DataError(
            f"{int(telling.sum())} words stand in the captions of at least two and at most half of the "
            f"{len(documents)} training pictures, expected at least decoder.topics, {topics}; set it lower"
        )
    found = LatentDirichletAllocation(topics, learning_method="online", max_iter=10, random_state=seed, batch_size=512)
    found.fit(counts[:, telling])
    of_topics = np.zeros((topics, words), np.float32)
    of_topics[:, telling] = found.components_ / found.components_.sum(1, keepdims=True)
    return of_topics
