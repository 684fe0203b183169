"""Beam search, greedy search and sampling over a step decoder: one loop, whatever computes the arrays.

B pictures still searched, K hypotheses per picture, V words, C candidates per picture, T words of a caption, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from showtell.decoding.candidates import Candidates, drawn, likeliest
from showtell.decoding.consensus import by_consensus
from showtell.decoding.constraints import repeating_words
from showtell.decoding.noise import sampling_noise
from showtell.decoding.options import DecodeOptions
from showtell.decoding.protocol import Array, Arrays, StepDecoder
from showtell.errors import ShowtellError
from showtell.vocabulary import END, PAD, START, UNKNOWN


@dataclass(frozen=True)
class Hypothesis:
    """One finished sentence of a picture."""

    tokens: tuple[int, ...]  # without start and end mark
    log_probability: float  # natural logarithm, the end mark included: the model's own, whatever the temperature
    score: float  # log-probability / max(words, 1) ** length_penalty
    word_log_probabilities: tuple[float, ...]  # of each token, that of the end mark last
    attention: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)  # (T, R) on request


# The finished sentences of each picture and group, best first.
_Found = list[list[list[Hypothesis]]]


@dataclass
class _Running:
    """The hypotheses still searched. A place that holds none has the score minus infinity."""

    pictures: NDArray[np.int64]  # (B,) their places in the result
    scores: NDArray[np.float64]  # (B, K) sums of log-probabilities
    words: NDArray[np.int64]  # (B, K, max_words + 1), the start mark first
    log_probs: NDArray[np.float64]  # (B, K, max_words)
    attention: NDArray[np.float32] | None = None  # (B, K, max_words, R)

    def keep(self, kept: NDArray[np.int64]) -> None:
        """Only the pictures `kept` (N,) go on."""
        self.pictures, self.scores = self.pictures[kept], self.scores[kept]
        self.words, self.log_probs = self.words[kept], self.log_probs[kept]
        if self.attention is not None:
            self.attention = self.attention[kept]


def generate(
    decoder: StepDecoder,
    regions: Array,
    options: DecodeOptions,
    arrays: Arrays,
    *,
    banned: Sequence[int] = (PAD, START, UNKNOWN),
    picture_keys: Sequence[int] | None = None,
    with_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Regions (B, R, D) -> for each picture its sentences, best first.

    There are `options.num_captions` of them, all different, fewer where fewer are possible; samples are independent
    draws, so there the number is exact and two can be equal. No sentence holds a word of `banned`. Where a hypothesis
    has no word left that is allowed, or has `max_words`, it ends there, and its log-probability counts the model's own
    for the end mark.

    Beam search keeps `beam_width` hypotheses; of each step's candidates an end mark among the best `beam_width`
    finishes a sentence, and the best others go on. A picture is done when no hypothesis can reach the worst sentence
    that would be returned: see `_done`. A width of 1 takes the likeliest word until that is the end mark.

    With `beam_groups` the hypotheses are parted into as many groups, which keep apart by `diversity` (see
    `candidates.likeliest`). What is returned are the groups' best, then their second best and so on, ranked by score;
    scores are the model's own. Where groups end in the same sentence, fewer may be found than asked for.

    With `rerank` so many as `candidates` tells are found or drawn, and those that differ are ranked by how well they
    agree with all of them (see `consensus.by_consensus`).

    Sampling draws noise from (`options.seed`, `picture_keys[b]`, sample, step); the keys are B whole numbers, by
    default 0, 1, 2, ... Neither search nor sampling depends on the other pictures of the batch.

    `with_attention` keeps what the decoder looked at for each word, (T, R) float32 for each hypothesis.
    Raises `ShowtellError` where the decoder gives NaN.
    """
    if options.rerank:
        compared = generate(
            decoder,
            regions,
            options.compared(),
            arrays,
            banned=banned,
            picture_keys=picture_keys,
            with_attention=with_attention,
        )
        return [_by_consensus(hypotheses, options) for hypotheses in compared]
    count = len(regions)
    keys = range(count) if picture_keys is None else picture_keys
    if len(keys) != count:
        raise ValueError(f"{len(keys)} picture keys for {count} pictures, expected one for each")
    if count == 0:
        return []
    width, groups = (options.num_captions, 1) if options.sample else (options.beam_width, options.beam_groups)
    found: _Found = [[[] for _ in range(groups)] for _ in range(count)]
    noise = sampling_noise(options.seed, keys, width, options.max_words) if options.sample else None
    memory, state = decoder.start(regions)
    state = arrays.repeat(state, width)
    running = _begin(count, width, groups, options)
    for t in range(options.max_words + 1):
        tokens = arrays.tokens(running.words[:, :, t])
        log_probs, state, looked = decoder.step(tokens, state, memory)
        attention = _attention(looked, running, arrays) if with_attention else None
        end = arrays.column(log_probs, END)  # (B, K), before it may be banned
        _check_numbers(end, running, t)
        stuck = running.scores > -np.inf
        if t < options.max_words:
            log_probs = _ban(log_probs, running.words[:, :, 1 : t + 1], banned, options, arrays)
            stuck &= ~arrays.alive(log_probs)
        if stuck.any():
            own = np.broadcast_to(np.arange(width), stuck.shape)
            _finish(found, running, stuck, own, running.scores + end, t, options)
        if t == options.max_words:
            break
        if noise is None:
            chosen = likeliest(log_probs, running.scores, arrays, groups=groups, diversity=options.diversity)
        else:
            chosen = drawn(log_probs, running.scores, noise[running.pictures, :, t], options, arrays)
        _finish(found, running, chosen.ending, chosen.parents, chosen.sums, t, options)
        parents = _extend(running, chosen, attention, t)
        over = _done(found, running, t + 1, options)  # (B, groups)
        done = np.asarray(over.all(1))
        if done.all():
            break
        running.scores[np.repeat(over, width // groups, axis=1)] = -np.inf
        if 2 * done.sum() >= len(done):
            kept = np.flatnonzero(~done)
            running.keep(kept)
            state, memory, parents = arrays.select(state, kept), arrays.select(memory, kept), parents[kept]
        if (parents != np.arange(width)).any():
            state = arrays.gather(state, parents)
    return [_presentable(of_groups, options) for of_groups in found]


def _begin(count: int, width: int, groups: int, options: DecodeOptions) -> _Running:
    scores = np.zeros((count, width))
    if not options.sample:
        scores[:, np.arange(width) % (width // groups) > 0] = -np.inf  # all start alike: only one of a group counts
    return _Running(
        pictures=np.arange(count),
        scores=scores,
        words=np.full((count, width, options.max_words + 1), START, np.int64),
        log_probs=np.zeros((count, width, options.max_words)),
    )


def _attention(looked: Array, running: _Running, arrays: Arrays) -> NDArray[np.float32]:
    """What this step looked at (B, K, R); the first time, room for all steps is made."""
    attention = arrays.numpy(looked)
    if running.attention is None:
        running.attention = np.zeros((*running.log_probs.shape, attention.shape[2]), np.float32)
    return attention


def _check_numbers(end: NDArray[np.float64], running: _Running, t: int) -> None:
    broken = np.isnan(end) & (running.scores > -np.inf)
    if broken.any():
        picture = running.pictures[np.flatnonzero(broken.any(1))[0]]
        raise ShowtellError(
            f"picture {picture} of the batch: the decoder gave NaN for word {t + 1}, expected log-probabilities; its "
            "weights or the picture's regions are damaged: train or export again, or fill the features again"
        )


def _ban(
    log_probs: Array, spoken: NDArray[np.int64], banned: Sequence[int], options: DecodeOptions, arrays: Arrays
) -> Array:
    """Log-probabilities (B, K, V) without what may not follow `spoken` (B, K, t)."""
    never = [*banned, END] if spoken.shape[2] < options.min_words else list(banned)
    if never:
        log_probs = arrays.ban(log_probs, np.array(never, np.int64))
    rows = repeating_words(spoken, ngram=options.no_repeat_ngram, phrase=options.no_repeat_phrase)
    return arrays.ban_each(log_probs, rows) if len(rows) else log_probs


def _finish(
    found: _Found,
    running: _Running,
    ending: NDArray[np.bool_],
    parents: NDArray[np.int64],
    sums: NDArray[np.float64],
    t: int,
    options: DecodeOptions,
) -> None:
    """Keep the sentences of `t` words that end now, if they are among their group's best; arrays are (B, C)."""
    scores = sums / max(t, 1) ** options.length_penalty
    for b, c in zip(*np.nonzero(ending), strict=True):
        k = parents[b, c]
        of_groups = found[running.pictures[b]]
        best = of_groups[k * len(of_groups) // running.scores.shape[1]]
        if len(best) == options.num_captions and not scores[b, c] > best[-1].score:
            continue
        end = sums[b, c] - running.scores[b, k]
        seen = None if running.attention is None else running.attention[b, k, :t].copy()
        best.append(
            Hypothesis(
                tokens=tuple(running.words[b, k, 1 : t + 1].tolist()),
                log_probability=float(sums[b, c]),
                score=float(scores[b, c]),
                word_log_probabilities=(*running.log_probs[b, k, :t].tolist(), float(end)),
                attention=seen,
            )
        )
        best.sort(key=lambda hypothesis: -hypothesis.score)  # stable: of equals the first finished stays in front
        del best[options.num_captions :]


def _extend(running: _Running, chosen: Candidates, attention: NDArray[np.float32] | None, t: int) -> NDArray[np.int64]:
    """Put each chosen word behind its parent's. Returns the parents (B, K) of the places."""
    parents = np.take_along_axis(chosen.parents, chosen.going, 1)
    words = np.take_along_axis(chosen.words, chosen.going, 1)
    sums = np.take_along_axis(chosen.sums, chosen.going, 1)
    sums[words == END] = -np.inf
    possible = sums > -np.inf
    before = np.take_along_axis(running.scores, parents, 1)
    pictures = np.arange(len(parents))[:, None]
    running.words = running.words[pictures, parents]
    running.words[:, :, t + 1] = words
    running.log_probs = running.log_probs[pictures, parents]
    running.log_probs[:, :, t] = np.subtract(sums, before, out=np.zeros_like(sums), where=possible)
    running.scores = sums
    if attention is not None:
        running.attention = np.asarray(running.attention)[pictures, parents]
        running.attention[:, :, t] = attention[pictures, parents]
    return parents


def _done(found: _Found, running: _Running, t: int, options: DecodeOptions) -> NDArray[np.bool_]:
    """Pictures and groups (B, groups) whose answer cannot change any more, with hypotheses of `t` words running.

    A hypothesis with log-probability s <= 0 ends with at most s, after n words with t <= n <= max_words, so its score
    is at most s / n ** length_penalty for the n that divides most: max_words, or t if the penalty is negative. Where
    that does not exceed the worst of the finished sentences that are wanted of a group, going on is in vain. That rule
    is exact: the answer is that of a search to the last word. `stop_early` takes the hypothesis as it stands, n = t:
    half as many words are searched, and a sentence that would have won by saying more without losing probability is
    missed.
    """
    groups = len(found[0])
    highest = running.scores.reshape(len(running.scores), groups, -1).max(2)
    over: NDArray[np.bool_] = np.isneginf(highest)
    if options.sample:
        return over
    penalty = options.length_penalty
    bound = highest / (t**penalty if options.stop_early else max(t**penalty, options.max_words**penalty))
    wanted = -(-options.num_captions // groups)
    for b, picture in enumerate(running.pictures):
        for group, sentences in enumerate(found[picture]):
            if len(sentences) >= wanted:
                over[b, group] |= options.beam_width == groups or bound[b, group] <= sentences[wanted - 1].score
    return over


def _presentable(of_groups: list[list[Hypothesis]], options: DecodeOptions) -> list[Hypothesis]:
    """Each group's best, then each group's second ... until there are enough that differ; ranked by score.

    Sentences that the model holds for impossible are left out, unless there is no other.
    """
    if options.sample:
        return of_groups[0]
    by_rank = sorted(((rank, h) for own in of_groups for rank, h in enumerate(own)), key=lambda o: (o[0], -o[1].score))
    different = {hypothesis.tokens: hypothesis for _, hypothesis in reversed(by_rank)}  # of equals the first stays
    possible = [h for _, h in by_rank if h is different[h.tokens] and h.log_probability > -np.inf]
    chosen = possible[: options.num_captions] or [hypothesis for _, hypothesis in by_rank[:1]]
    return sorted(chosen, key=lambda hypothesis: -hypothesis.score)


def _by_consensus(hypotheses: list[Hypothesis], options: DecodeOptions) -> list[Hypothesis]:
    likely = None if options.sample else [hypothesis.log_probability for hypothesis in hypotheses]
    places = by_consensus([hypothesis.tokens for hypothesis in hypotheses], likely)
    return [hypotheses[place] for place in places[: options.num_captions]]
