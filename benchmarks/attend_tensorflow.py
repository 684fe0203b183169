"""The peer of attend_training.py: Show, Attend and Tell in plain TensorFlow 2, trained as its tutorial describes.

    PYTHON benchmarks/attend_tensorflow.py CAPTIONS.npz eager|function THREADS

Written from a description of the tutorial's sizes and steps. The attention maps the regions anew at every word, as the
tutorial's layer does, and every caption is told to the length of the data set's longest. Features lie in memory, which
is faster than the tutorial's one file a picture. Each line on standard input trains one round and is answered by
`{"captions": ..., "seconds": ...}`; the first answer, unasked, comes after the steps that warm up and tells versions.

B captions of a batch, each with its picture, R regions, T words of the longest caption with both marks.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

BATCH = 64
ROUND = 3  # steps
WARM_UP = 2  # the first step traces the graph
VOCABULARY, EMBEDDING, HIDDEN, ATTENTION = 5000, 256, 512, 512
REGIONS, REGION_SIZE = 64, 2048
PAD = 0
LEARNING_RATE = 1e-3

tf: Any = importlib.import_module("tensorflow")


def main() -> int:
    path, kind, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.random.set_seed(0)
    step = make_step()
    if kind == "function":
        step = tf.function(step)
    given = batches(path)
    for _ in range(WARM_UP):
        step(*next(given))
    print(json.dumps({"versions": f"tensorflow {tf.__version__}, keras {tf.keras.__version__}"}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(ROUND):
            loss = float(step(*next(given)))
        seconds = time.perf_counter() - began
        print(json.dumps({"captions": ROUND * BATCH, "seconds": seconds, "loss": loss}), flush=True)
    return 0


def batches(path: str) -> Iterator[tuple[Any, Any]]:
    """Regions (B, R, D) float32 and captions (B, T) int32, shuffled, without end."""
    with np.load(path) as file:
        captions, owners = file["captions"], file["owners"]
    random = np.random.default_rng(0)
    features = np.abs(random.standard_normal((owners.max() + 1, REGIONS, REGION_SIZE), np.float32))
    while True:
        order = random.permutation(len(captions))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield tf.constant(features[owners[chosen]]), tf.constant(captions[chosen])


def make_step() -> Callable[[Any, Any], Any]:
    """Model and optimizer -> a function of regions and captions that learns from them and gives the loss."""
    layers = tf.keras.layers
    head = layers.Dense(EMBEDDING, activation="relu")
    of_regions, of_hidden, score = layers.Dense(ATTENTION), layers.Dense(ATTENTION), layers.Dense(1)
    embed = layers.Embedding(VOCABULARY, EMBEDDING)
    # The cell alone: the layer around it takes longer for one word.
    cell = layers.GRUCell(HIDDEN)
    dense, words = layers.Dense(HIDDEN), layers.Dense(VOCABULARY)
    for layer, size in (
        (head, REGION_SIZE),
        (of_regions, EMBEDDING),
        (of_hidden, HIDDEN),
        (score, ATTENTION),
        (embed, None),
        (cell, 2 * EMBEDDING),
        (dense, HIDDEN),
        (words, HIDDEN),
    ):
        layer.build((None, size))
    variables = [
        variable
        for layer in (head, of_regions, of_hidden, score, embed, cell, dense, words)
        for variable in layer.trainable_variables
    ]
    if (count := sum(int(np.prod(variable.shape)) for variable in variables)) != 6_602_889:
        raise SystemExit(f"the peer has {count:,} parameters, expected 6,602,889")
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(variables)
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def next_word(tokens: Any, regions: Any, hidden: Any) -> tuple[Any, Any]:
        """Tokens (B,), regions (B, R, P), hidden (B, H) -> logits (B, V), hidden."""
        energy = score(tf.nn.tanh(of_regions(regions) + of_hidden(hidden)[:, None]))  # (B, R, 1)
        context = tf.reduce_sum(tf.nn.softmax(energy, axis=1) * regions, axis=1)  # (B, P)
        hidden, _ = cell(tf.concat([context, embed(tokens)], axis=-1), [hidden])
        return words(dense(hidden)), hidden

    def step(features: Any, captions: Any) -> Any:
        loss = 0.0
        hidden = tf.zeros((BATCH, HIDDEN))
        with tf.GradientTape() as tape:
            regions = head(features)
            for t in range(1, captions.shape[1]):
                logits, hidden = next_word(captions[:, t - 1], regions, hidden)
                told = cross_entropy(captions[:, t], logits)
                loss += tf.reduce_mean(told * tf.cast(captions[:, t] != PAD, told.dtype))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss / captions.shape[1]

    return step


if __name__ == "__main__":
    sys.exit(main())
