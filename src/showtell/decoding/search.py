"""Beam search, greedy search and sampling over a step decoder: one loop, whatever computes the arrays.

B pictures still searched, K hypotheses per picture, G groups of them, V words, C candidates per picture, T words of a
caption, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from showtell.decoding.candidates import drawn, likeliest
from showtell.decoding.consensus import by_consensus
from showtell.decoding.constraints import repeating_words
from showtell.decoding.noise import sampling_noise
from showtell.decoding.options import DecodeOptions
from showtell.decoding.protocol import Array, Arrays, Memory, State, StepDecoder
from showtell.decoding.running import Running
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
    """Regions (B, R, D) -> for each picture its sentences, best first: a `Search` to its end.

    `picture_keys` are by default 0, 1, 2, ... Raises as `Search`.
    """
    keys = range(len(regions)) if picture_keys is None else picture_keys
    search = Search(decoder, options, arrays, banned=banned, with_attention=with_attention)
    search.add(regions, range(len(regions)), keys)
    answers: dict[int, list[Hypothesis]] = {}
    while len(search):
        answers |= search.step()
    return [answers[name] for name in range(len(regions))]


class Search:
    """Pictures that are searched together, a word at a time, by the same options.

    They join before any step and leave with their sentences when they have them, so none waits for another. Each gets
    `options.num_captions` sentences, all different, best first, fewer where fewer are possible; samples are independent
    draws, so there the number is exact and two can be equal. No sentence holds a word of `banned`. Where a hypothesis
    has no word left that is allowed, or has `max_words`, it ends there, and its log-probability counts the model's own
    for the end mark.

    Beam search keeps `beam_width` hypotheses; of each step's candidates an end mark among the best `beam_width`
    finishes a sentence, and the best others go on. A picture is done when no hypothesis can reach the worst sentence
    that would be returned: see `_over`. A width of 1 takes the likeliest word until that is the end mark.

    With `beam_groups` the hypotheses are parted into as many groups, which keep apart by `diversity` (see
    `candidates.likeliest`). What is returned are the groups' best, then their second best and so on, ranked by score;
    scores are the model's own. Where groups end in the same sentence, fewer may be found than asked for.

    With `rerank` so many as `candidates` tells are found or drawn, and those that differ are ranked by how well they
    agree with all of them (see `consensus.by_consensus`).

    Sampling draws noise from (`options.seed`, the picture's key, sample, step). Neither search nor sampling depends on
    the other pictures, those that join or leave meanwhile included.

    `with_attention` keeps what the decoder looked at for each word, (T, R) float32 for each hypothesis.
    """

    def __init__(
        self,
        decoder: StepDecoder,
        options: DecodeOptions,
        arrays: Arrays,
        *,
        banned: Sequence[int] = (PAD, START, UNKNOWN),
        with_attention: bool = False,
    ) -> None:
        self._decoder, self._arrays, self._banned = decoder, arrays, list(banned)
        self._asked, self._with_attention = options, with_attention
        self._options = options = options.compared() if options.rerank else options
        self._width = options.num_captions if options.sample else options.beam_width
        self._groups = 1 if options.sample else options.beam_groups
        self._running: Running | None = None
        self._memory: Memory = {}
        self._state: State = {}
        self._found: dict[int, list[list[Hypothesis]]] = {}  # name -> the finished sentences of each group, best first

    def __len__(self) -> int:
        """Pictures that have no answer yet."""
        return len(self._found)

    def add(self, regions: Array, names: Sequence[int], picture_keys: Sequence[int]) -> None:
        """Regions (B, R, D) of pictures that join, what `step` shall call them, and the keys of their noise.

        Raises `ValueError` where there are not B of each, or a name is taken.
        """
        for numbers, what in ((names, "name"), (picture_keys, "picture key")):
            if len(numbers) != len(regions):
                raise ValueError(f"{len(numbers)} {what}s for {len(regions)} pictures, expected one for each")
        if len(set(names)) < len(names) or any(name in self._found for name in names):
            raise ValueError(f"names {list(names)} of pictures: one is taken, expected others")
        if not len(regions):
            return
        memory, state = self._decoder.start(regions)
        state = self._arrays.repeat(state, self._width)
        options = self._options
        scores = np.zeros((len(regions), self._width))
        if not options.sample:
            # All of a group start alike: only the first of them counts.
            scores[:, np.arange(self._width) % (self._width // self._groups) > 0] = -np.inf
        begun = Running.begin(names, scores, options.max_words)
        if options.sample:
            begun.noise = sampling_noise(options.seed, picture_keys, self._width, options.max_words)
        self._found |= {int(name): [[] for _ in range(self._groups)] for name in names}
        if self._running is None:
            self._running, self._memory, self._state = begun, memory, state
            return
        if self._running.over.any():
            self._leave_out()
        self._running = self._running.joined(begun)
        self._memory = self._arrays.join(self._memory, memory)
        self._state = self._arrays.join(self._state, state)

    def step(self) -> list[tuple[int, list[Hypothesis]]]:
        """Search one word further. Returns the pictures that have their sentences now: name and sentences, best first.

        Raises `ShowtellError` where the decoder gives NaN.
        """
        running, arrays, options = self._running, self._arrays, self._options
        if running is None:
            return []
        log_probs, state, looked = self._decoder.step(arrays.tokens(running.last()), self._state, self._memory)
        attention = self._attention(looked) if self._with_attention else None
        end = arrays.column(log_probs, END)  # (B, K), before it may be banned
        _check_numbers(end, running)
        full = running.told == options.max_words  # (B,)
        stuck = (running.scores > -np.inf) & full[:, None]
        if not full.all():
            log_probs = self._ban(log_probs, running)
            stuck |= (running.scores > -np.inf) & ~arrays.alive(log_probs)
        if stuck.any():
            own = np.broadcast_to(np.arange(self._width), stuck.shape)
            self._finish(stuck, own, running.scores + end)
        running.scores[full] = -np.inf
        if full.all():
            return self._answered(np.ones(len(full), bool))
        if options.sample:
            chosen = drawn(log_probs, running.scores, running.drawn(), options, arrays)
        else:
            chosen = likeliest(log_probs, running.scores, arrays, groups=self._groups, diversity=options.diversity)
        self._finish(chosen.ending, chosen.parents, chosen.sums)
        parents = running.extend(chosen, attention)
        over = self._over(running)  # (B, G)
        running.scores[np.repeat(over, self._width // self._groups, axis=1)] = -np.inf
        if (parents != np.arange(self._width)).any():
            state = arrays.gather(state, parents)
        self._state = state
        return self._answered(np.asarray(over.all(1)))

    def _attention(self, looked: Array) -> NDArray[np.float32]:
        """What this step looked at (B, K, R); the first time, room for all steps is made."""
        assert self._running is not None
        attention = self._arrays.numpy(looked)
        if self._running.attention is None:
            self._running.attention = np.zeros((*self._running.log_probs.shape, attention.shape[2]), np.float32)
        return attention

    def _ban(self, log_probs: Array, running: Running) -> Array:
        """Log-probabilities (B, K, V) without what may not follow the words so far."""
        options, arrays = self._options, self._arrays
        short = running.told < options.min_words  # (B,)
        never = [*self._banned, END] if short.all() else self._banned
        if never:
            log_probs = arrays.ban(log_probs, np.array(never, np.int64))
        rows = repeating_words(running.spoken(), ngram=options.no_repeat_ngram, phrase=options.no_repeat_phrase)
        if short.any() and not short.all():
            unfinished = np.argwhere(np.broadcast_to(short[:, None], running.scores.shape))
            rows = np.concatenate([rows, np.insert(unfinished, 2, END, axis=1)])
        return arrays.ban_each(log_probs, rows) if len(rows) else log_probs

    def _finish(self, ending: NDArray[np.bool_], parents: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
        """Keep the sentences that end now, if they are among their group's best; arrays are (B, C)."""
        running, wanted = self._running, self._options.num_captions
        assert running is not None
        scores = sums / (np.maximum(running.told, 1) ** self._options.length_penalty)[:, None]
        for b, c in zip(*np.nonzero(ending), strict=True):
            k, t = parents[b, c], running.told[b]
            best = self._found[int(running.names[b])][k * self._groups // self._width]
            if len(best) == wanted and not scores[b, c] > best[-1].score:
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
            del best[wanted:]

    def _over(self, running: Running) -> NDArray[np.bool_]:
        """Pictures and groups (B, G) whose answer cannot change any more.

        A hypothesis with log-probability s <= 0 and t words ends with at most s, after n words with t <= n <=
        max_words, so its score is at most s / n ** length_penalty for the n that divides most: max_words, or t if the
        penalty is negative. Where that does not exceed the worst of the finished sentences that are wanted of a group,
        going on is in vain. That rule is exact for each group: its answer is that of a search to the last word (where
        groups end in the same sentence, a longer search might find another). `stop_early` takes the
        hypothesis as it stands, n = t: half as many words are searched, and a sentence that would have won by saying
        more without losing probability is missed.
        """
        options = self._options
        highest = running.scores.reshape(len(running.scores), self._groups, -1).max(2)
        over: NDArray[np.bool_] = np.isneginf(highest)
        if options.sample:
            return over
        penalty = options.length_penalty
        divisor = running.told**penalty  # (B,)
        if not options.stop_early:
            divisor = np.maximum(divisor, options.max_words**penalty)
        bound = highest / divisor[:, None]
        wanted = -(-options.num_captions // self._groups)
        for b in np.flatnonzero(~running.over):
            for group, sentences in enumerate(self._found[int(running.names[b])]):
                if len(sentences) >= wanted:
                    sure = options.beam_width == self._groups or bound[b, group] <= sentences[wanted - 1].score
                    over[b, group] |= sure
        return over

    def _answered(self, done: NDArray[np.bool_]) -> list[tuple[int, list[Hypothesis]]]:
        """The answers of those that are done (B,) since this step; the rows go when half of them have one."""
        running = self._running
        assert running is not None
        new = running.names[done & ~running.over].tolist()
        running.over |= done
        if running.over.all():
            self._running, self._memory, self._state = None, {}, {}
        elif 2 * running.over.sum() >= len(running.over):
            self._leave_out()
        return [(name, self._presentable(self._found.pop(name))) for name in new]

    def _leave_out(self) -> None:
        """Those that have their answer."""
        assert self._running is not None
        kept = np.flatnonzero(~self._running.over)
        self._running = self._running.keep(kept)
        self._state, self._memory = self._arrays.select(self._state, kept), self._arrays.select(self._memory, kept)

    def _presentable(self, of_groups: list[list[Hypothesis]]) -> list[Hypothesis]:
        """What is returned of a picture's finished sentences."""
        sentences = of_groups[0] if self._options.sample else _of_all_groups(of_groups, self._options.num_captions)
        if not self._asked.rerank:
            return sentences
        likely = None if self._options.sample else [hypothesis.log_probability for hypothesis in sentences]
        places = by_consensus([hypothesis.tokens for hypothesis in sentences], likely)
        return [sentences[place] for place in places[: self._asked.num_captions]]


def _of_all_groups(of_groups: list[list[Hypothesis]], count: int) -> list[Hypothesis]:
    """Each group's best, then each group's second ... until there are enough that differ; ranked by score.

    Sentences that the model holds for impossible are left out, unless there is no other.
    """
    by_rank = sorted(((rank, h) for own in of_groups for rank, h in enumerate(own)), key=lambda o: (o[0], -o[1].score))
    different = {hypothesis.tokens: hypothesis for _, hypothesis in reversed(by_rank)}  # of equals the first stays
    possible = [h for _, h in by_rank if h is different[h.tokens] and h.log_probability > -np.inf]
    chosen = possible[:count] or [hypothesis for _, hypothesis in by_rank[:1]]
    return sorted(chosen, key=lambda hypothesis: -hypothesis.score)


def _check_numbers(end: NDArray[np.float64], running: Running) -> None:
    broken = np.isnan(end) & (running.scores > -np.inf)
    if broken.any():
        row = np.flatnonzero(broken.any(1))[0]
        raise ShowtellError(
            f"picture {running.names[row]} of the batch: the decoder gave NaN for word {running.told[row] + 1}, "
            "expected log-probabilities; its weights or the picture's regions are damaged: train or export again, or "
            "fill the features again"
        )
