"""A decoder whose answers can be worked out by hand: what comes next depends on the last word, or on all of them.

B pictures, K hypotheses, V words, R regions.
"""

import itertools

import numpy as np

from showtell.vocabulary import END, START


def log_table(rows, size):
    """{word: {next: probability}} -> log-probabilities (V, V); what is not named is impossible."""
    table = np.zeros((size, size))
    for word, following in rows.items():
        for then, probability in following.items():
            table[word, then] = probability
    with np.errstate(divide="ignore"):
        return np.log(table).astype(np.float32)


class TableDecoder:
    """Regions (B, 1, 1) hold the number of the table that a picture uses: tables (N, V, V), row is the last word.

    The state counts steps, and the memory is checked against it, so that a wrong gather or compaction shows. Attention
    is one-hot at region `last word`, which tells which parent a word was said after.
    """

    def __init__(self, tables):
        self.tables = np.asarray(tables, np.float32)
        self.steps = 0
        self.rows = 0  # how many hypotheses were computed

    def start(self, regions):
        number = regions[:, 0, 0].astype(np.int64)
        return {"table": number}, {"table": number[:, None], "last": np.full((len(number), 1), -1)}

    def step(self, tokens, state, memory):
        np.testing.assert_array_equal(state["table"], np.repeat(memory["table"][:, None], tokens.shape[1], axis=1))
        self.steps += 1
        self.rows += tokens.size
        log_probs = self.tables[memory["table"][:, None], tokens]
        attention = np.eye(self.tables.shape[1], dtype=np.float32)[tokens]
        return log_probs, {"table": state["table"], "last": tokens}, attention


class HistoryDecoder:
    """What comes next depends on the whole sentence so far: `tables` (N, V ** depth, V), addressed by the last words.

    The state alone holds the history, so a hypothesis that got another's state tells other words.
    """

    def __init__(self, tables, depth):
        self.tables, self.depth = np.asarray(tables, np.float32), depth
        self.size = self.tables.shape[2]

    def start(self, regions):
        number = regions[:, 0, 0].astype(np.int64)
        return {"table": number}, {"history": np.zeros((len(number), 1), np.int64)}

    def step(self, tokens, state, memory):
        history = (state["history"] * self.size + tokens) % self.size**self.depth
        log_probs = self.tables[memory["table"][:, None], history]
        return log_probs, {"history": history}, np.ones((*tokens.shape, 1), np.float32)

    def log_probs_after(self, table, words):
        """(V,) after a sentence, by the definition."""
        history = 0
        for word in (START, *words):
            history = (history * self.size + word) % self.size**self.depth
        return self.tables[table, history].astype(np.float64)


def random_history_decoder(seed, pictures, size, depth=3):
    """Every next word has some probability."""
    logits = np.random.default_rng(seed).normal(scale=1.5, size=(pictures, size**depth, size))
    return HistoryDecoder(logits - np.log(np.exp(logits).sum(-1, keepdims=True)), depth)


def regions_of(numbers):
    """Regions (B, 1, 1) that choose each picture's table."""
    return np.array(numbers, np.float32)[:, None, None]


def every_sentence(decoder, table, options, allowed):
    """[(score, log-probability, words)], best first, of all sentences within the limits of length."""
    sentences = []
    for length in range(options.min_words, options.max_words + 1):
        for words in itertools.product(allowed, repeat=length):
            total = sum(decoder.log_probs_after(table, words[:i])[w] for i, w in enumerate((*words, END)))
            sentences.append((total / max(length, 1) ** options.length_penalty, total, words))
    return sorted(sentences, key=lambda sentence: -sentence[0])
