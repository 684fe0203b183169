"""Scores of 5,000 pictures x 5 references: 8 times as fast as pycocoevalcap on two cores, in no more memory.

    python benchmarks/score_speed.py [--data DIR] [--runs N]

Whole processes count, from the same file of captions to BLEU-1..4, ROUGE-L and CIDEr: tokenizer, scores, start of the
interpreter, and in pycocoevalcap's case its Java program. They run in turn, and the medians count. Both must give the
same scores. The memory of pycocoevalcap is that of its Python process alone; what Java takes beside it is told.
Then CIDEr-D as training uses it, references prepared once, batches of sampled captions, on one core: at least 20,000
captions a second. Captions are made from a small grammar, or taken from a data set.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import Row, report, run, two_cores

PICTURES, REFERENCES = 5000, 5
TIMES = 8  # as fast as pycocoevalcap
CAPTIONS_PER_SECOND = 20_000
TOLERANCE = 1e-9

# fmt: off
THINGS = (
    "dog", "cat", "man", "woman", "boy", "girl", "horse", "bird", "ball", "bicycle", "car", "boat", "bench", "tree",
    "house", "child", "player", "surfer", "climber", "runner", "dancer", "skier", "swimmer", "shirt", "hat", "stick",
    "flag", "rope", "kite", "camera", "guitar", "umbrella",
)
VERBS = (
    "runs after", "stands behind", "is looking at", "jumps over", "plays with", "walks beside", "holds",
    "doesn't see", "sits on",
)
PLACES = (
    "in the park", "on a beach", "near the water", "in front of a building", "at night", "on the green grass",
    "in the deep snow", "across a busy street", "by the river", "during a race", "under the trees",
    "with other people around",
)
# fmt: on
ENDS = (".", " .", "", ", and smiles.", " while it rains.")

_READ = """
import json, resource, sys
content = json.load(open(sys.argv[1], encoding="utf-8"))
candidates, references = content["candidates"], content["references"]
def tell(scores):
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"scores": scores, "megabytes": [size * unit / 1e6 for size in used]}))
"""
OURS = (
    _READ
    + """
from showtell.metrics.score import score
from showtell.metrics.tokenizer import tokenize_all
flat = iter(tokenize_all(text for texts in references for text in texts))
told = score(tokenize_all(candidates), [[next(flat) for _ in texts] for texts in references])
tell({name: found.value for name, found in told.items()})
"""
)
THEIRS = (
    _READ
    + """
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
tokenizer = PTBTokenizer()
theirs = tokenizer.tokenize({i: [{"caption": text} for text in texts] for i, texts in enumerate(references)})
ours = tokenizer.tokenize({i: [{"caption": text}] for i, text in enumerate(candidates)})
bleu = Bleu(4).compute_score(theirs, ours, verbose=0)[0]
scores = {f"BLEU-{n}": float(value) for n, value in enumerate(bleu, 1)}
scores["ROUGE-L"] = float(Rouge().compute_score(theirs, ours)[0])
scores["CIDEr"] = float(Cider().compute_score(theirs, ours)[0])
tell(scores)
"""
)
# The candidate of a picture is the next one's first caption: people write no sixth.
FROM_DATA = """
import json, sys
from pathlib import Path
from showtell.data.readers import read_dataset
pictures, references = map(int, sys.argv[3:])
told = [e.captions[:references] for e in read_dataset(Path(sys.argv[1])).examples if len(e.captions) >= references]
if len(told) < pictures:
    sys.exit(f"{len(told)} pictures have {references} captions, expected {pictures}")
told = told[:pictures]
content = {"candidates": [told[(i + 1) % pictures][0] for i in range(pictures)], "references": told}
Path(sys.argv[2]).write_text(json.dumps(content), encoding="utf-8")
"""
INCREMENTAL = """
import json, os, random, sys, time
import numpy as np
from showtell.metrics.cider import CiderD
from showtell.metrics.tokenizer import tokenize_all
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
content = json.load(open(sys.argv[1], encoding="utf-8"))
references = [tokenize_all(texts) for texts in content["references"]]
said = [text.split() for text in tokenize_all(content["candidates"])]
vocabulary = sorted({word for texts in references for text in texts for word in text.split()} | set().union(*said))
places = {word: place for place, word in enumerate(vocabulary)}
began = time.perf_counter()
scorer = CiderD(references, words=vocabulary)
rates = {"prepare": time.perf_counter() - began}
source = random.Random(1)
for size in (50, 1000):
    pictures = [source.randrange(len(said)) for _ in range(size)]
    words = [said[(picture + source.randrange(2)) % len(said)] for picture in pictures]
    texts, lengths = [" ".join(caption) for caption in words], np.array([len(caption) for caption in words])
    ids = np.zeros((size, lengths.max()), np.int64)
    for row, caption in zip(ids, words):
        row[: len(caption)] = [places[word] for word in caption]
    for kind, score in {
        "words": lambda: scorer.scores(texts, pictures), "ids": lambda: scorer.scores_of_ids(ids, lengths, pictures)
    }.items():
        score()
        began, batches = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < 1:
            score()
            batches += 1
        rates[f"{kind}, batches of {size}"] = batches * size / passed
print(json.dumps(rates))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of a data set whose captions are taken")
    parser.add_argument("--runs", type=int, default=5, help="of each, in turn")
    options = parser.parse_args()
    two_cores()
    with tempfile.TemporaryDirectory() as folder:
        captions = Path(folder, "captions.json")
        if options.data:
            run([sys.executable, "-c", FROM_DATA, options.data, captions, str(PICTURES), str(REFERENCES)])
        else:
            captions.write_text(json.dumps(grammar_captions()), encoding="utf-8")
        rows = compare(captions, options.runs) + incremental(captions)
    return report(f"{PICTURES:,} pictures x {REFERENCES} references, {options.runs} runs each in turn", rows)


def compare(captions: Path, runs: int) -> list[Row]:
    """Both programs in turn, after one run of each that warms the disk."""
    programs = {"ours": OURS, "theirs": THEIRS}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    own: dict[str, float] = dict.fromkeys(programs, 0.0)  # MB of the Python process
    java = 0.0
    scores: dict[str, dict[str, float]] = {}
    for turn in range(runs + 1):
        for name, program in programs.items():
            finished = run([sys.executable, "-c", program, captions])
            told = json.loads(finished.out.splitlines()[-1])
            scores[name] = told["scores"]
            own[name] = max(own[name], told["megabytes"][0])
            java = max(java, told["megabytes"][1])
            if turn:
                seconds[name].append(finished.seconds)
    for metric, value in scores["theirs"].items():
        if abs(scores["ours"][metric] - value) > TOLERANCE:
            raise SystemExit(f"{metric}: {scores['ours'][metric]!r}, pycocoevalcap says {value!r}; expected the same")
    ours, theirs = (median(seconds[name]) for name in programs)
    return [
        Row("showtell, median time", ours, "s"),
        Row("pycocoevalcap, median time", theirs, "s"),
        Row("times as fast", theirs / ours, "x", TIMES, True),
        Row("showtell, memory", own["ours"], "MB", round(own["theirs"], 1)),
        Row("pycocoevalcap, memory of Python", own["theirs"], "MB"),
        Row("pycocoevalcap, memory of Java beside it", java, "MB"),
    ]


def incremental(captions: Path) -> list[Row]:
    """CIDEr-D of batches on one core."""
    rates = json.loads(run([sys.executable, "-c", INCREMENTAL, captions]).out)
    prepared = Row("CIDEr-D, references prepared in", rates.pop("prepare"), "s")
    return [prepared] + [
        Row(f"CIDEr-D from {kind}", rate, "captions/s", CAPTIONS_PER_SECOND, True) for kind, rate in rates.items()
    ]


def grammar_captions() -> dict[str, list[str] | list[list[str]]]:
    """Captions of about 11 words, the same on any machine; those of a picture speak of the same things."""
    source = random.Random(0)
    things = [f"{a} {b}" for a in ["small", "large", "young", "old", "brown", "white", "wet", "happy"] for b in THINGS]

    def say(first: str, second: str) -> str:
        verb, place, end = source.choice(VERBS), source.choice(PLACES), source.choice(ENDS)
        return f"A {first} {verb} {source.choice(('a', 'the', 'one'))} {second} {place}{end}"

    candidates, references = [], []
    for _ in range(PICTURES):
        first, second = source.sample(things, 2)
        candidates.append(say(first, source.choice((second, source.choice(things)))))
        references.append([say(first, second) for _ in range(REFERENCES)])
    return {"candidates": candidates, "references": references}


if __name__ == "__main__":
    sys.exit(main())
