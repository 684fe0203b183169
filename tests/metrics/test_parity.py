"""BLEU, ROUGE-L and CIDEr against the COCO caption evaluation itself, corpus and per picture, on named sets."""

import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from showtell.data.readers import read_dataset
from showtell.metrics.bleu import bleu
from showtell.metrics.cider import cider_d
from showtell.metrics.rouge import rouge_l
from showtell.metrics.score import DEFAULT, score
from showtell.metrics.tokenizer import tokenize_all

FLICKR8K = Path(__file__).parents[2].parent / "shared" / "data" / "flickr8k"
TOLERANCE = 1e-9

PICTURES = 60
SUBJECTS = ("a dog", "two dogs", "a small brown dog", "a man", "the man in red", "three children", "a woman 's cat")
VERBS = ("runs", "is running", "jumps over", "sits on", "looks at", "is n't near", "plays with")
PLACES = ("the grass", "a red ball", "the water", "a bench in the park", "3,000 people", "snow and more snow", "it")
UNKNOWN = [f"x{i}" for i in range(30)]
EXOTIC = ("größe", "犬", "ə", "naïve", "🐕", "ﬁne", "हिन्दी", "ß", "e\u0301")


def say(source):
    return " ".join(source.choice(part) for part in (SUBJECTS, VERBS, PLACES))


def references(count=PICTURES, each=5, seed=1):
    source = random.Random(seed)
    made = [[say(source) for _ in range(each)] for _ in range(count)]
    return made, source


def candidates_of(make, each=5):
    """References, and what `make(references of the picture, source)` says of each."""
    made, source = references(each=each)
    return [make(texts, source) for texts in made], made


def altered(texts, source):
    """Like a model's caption: a reference with words left out, swapped or told twice."""
    words = source.choice(texts).split()
    for _ in range(3):
        place = source.randrange(len(words))
        words[place : place + 1] = source.choice([[], [words[place]] * 2, [source.choice(say(source).split())]])
        words = words or ["a"]
    return " ".join(words)


def shuffled(count=PICTURES):
    made, source = references(count)
    said = [texts[0] for texts in made]
    source.shuffle(said)
    return said, made


def uneven():
    made, source = references()
    made = [texts[: source.randint(1, 5)] for texts in made]
    return [say(source) for _ in made], made


def duplicates():
    said, made = candidates_of(altered)
    return said, [[*texts[:2], texts[0], texts[0]] for texts in made]


def exotic():
    source = random.Random(5)
    said = [" ".join(source.choices(EXOTIC, k=source.randint(1, 9))) for _ in range(150)]
    return said[:30], [said[place : place + 4] for place in range(30, 150, 4)]


def with_references(said, theirs):
    """Every picture the same candidate and references, but for one other picture that gives n-grams a weight."""
    return [said, said, "a bird"], [theirs, theirs, ["a bird flies", "a bird"]]


def mixed():
    kinds = [altered, lambda t, s: "", lambda t, s: t[0], lambda t, s: "zzz", lambda t, s: " ".join(["a"] * 80)]
    return candidates_of(lambda texts, source: source.choice(kinds)(texts, source))


LONG = " ".join(chain.from_iterable(("dog", f"w{i % 50}") for i in range(350)))

SETS = {
    "like a model": lambda: candidates_of(altered),
    "captions of other pictures": shuffled,
    "random words": lambda: candidates_of(lambda t, s: " ".join(s.choices(say(s).split(), k=s.randint(1, 20)))),
    "unknown words": lambda: candidates_of(
        lambda t, s: " ".join(f"x{s.randrange(30)}" for _ in range(s.randint(1, 12)))
    ),
    "some empty": lambda: candidates_of(lambda t, s: s.choice(["", t[0]])),
    "all empty": lambda: candidates_of(lambda t, s: ""),
    "empty references": lambda: (["a dog", "", "a cat", ""], [["", ""], ["", "a dog"], ["a dog", ""], ["a cat"]]),
    "one word": lambda: candidates_of(lambda t, s: s.choice(t[0].split())),
    "two words": lambda: candidates_of(lambda t, s: " ".join(t[0].split()[:2])),
    "three words": lambda: candidates_of(lambda t, s: " ".join(t[0].split()[1:4])),
    "one repeated word": lambda: candidates_of(lambda t, s: " ".join([s.choice(t[0].split())] * s.randint(2, 30))),
    "repeated phrases": lambda: candidates_of(lambda t, s: " ".join([t[0]] * s.randint(2, 4))),
    "very long candidate": lambda: with_references(LONG, ["a dog w1 w2 w3", "the dog"]),
    "very long reference": lambda: with_references("a dog w1 dog w2 w3 dog w3", [LONG, "dog"]),
    "both very long": lambda: with_references(" ".join(reversed(LONG.split())), [LONG, "a dog"]),
    "references of 63, 64 and 65 words": lambda: with_references(
        " ".join(LONG.split()[5:75]), [" ".join(LONG.split()[:n]) for n in (63, 64, 65)]
    ),
    "not ASCII": exotic,
    "upper case": lambda: candidates_of(lambda t, s: s.choice([t[0].upper(), t[0].title(), t[0]])),
    "equal to a reference": lambda: candidates_of(lambda t, s: s.choice(t)),
    "equal to the only reference": lambda: candidates_of(lambda t, s: t[0], each=1),
    "one reference": lambda: candidates_of(altered, each=1),
    "unequal numbers of references": uneven,
    "one picture": lambda: (["a dog runs fast"], [["a dog runs", "the dog runs fast on grass"]]),
    "two pictures": lambda: (["a dog runs fast", "a cat"], [["a dog runs", "the dog"], ["two cats sleep", "a cat"]]),
    "duplicate references": duplicates,
    "the same references everywhere": lambda: (["a dog", "a cat", "the dog"], [["a dog", "the dog runs"]] * 3),
    "numbers": lambda: (["3,000 people 1/2", "7 7 7", "2010"], [["3,000 of 7", "1/2"], ["7 7", "07"], ["2010 2011"]]),
    "NULL": lambda: (["NULL", "null", "None"], [["NULL"], ["a null", "NULL"], ["a dog", "none"]]),
    "other white space": lambda: (
        ["a  dog", "a\tdog runs", " a dog", "a\u3000dog ", " ", "a\xa0b"],
        [["a  dog", "a dog"], ["a\tdog", "dog runs"], ["a dog", " "], ["a\u3000dog"], [" ", "", "a"], ["a b", "b\x1c"]],
    ),
    "shorter and longer than all": lambda: candidates_of(lambda t, s: s.choice([t[0].split()[0], " ".join(t)])),
    "of all kinds": mixed,
}


def flickr8k(number, count=None):
    """People's caption `number` as candidate, the others as references."""
    if not FLICKR8K.is_dir():
        pytest.skip("needs Flickr8k in ../shared/data/flickr8k")
    examples = [e for e in read_dataset(FLICKR8K).examples if e.split == "test" and len(e.captions) == 5][:count]
    texts = [tokenize_all(example.captions) for example in examples]
    return [t[number] for t in texts], [t[:number] + t[number + 1 :] for t in texts]


HUMANS = {f"people's caption {n}": lambda n=n: flickr8k(n) for n in range(5)}


def coco(candidates, references):
    """Scores by name from the COCO caption evaluation, fed with tokens as they are: (of the set, of each picture)."""
    module = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="compares with pycocoevalcap")
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    theirs, ours = dict(enumerate(references)), {i: [c] for i, c in enumerate(candidates)}
    found = {"ROUGE-L": Rouge().compute_score(theirs, ours), "CIDEr": Cider().compute_score(theirs, ours)}
    of_set, of_pictures = module.Bleu(4).compute_score(theirs, ours, verbose=0)
    found.update({f"BLEU-{n + 1}": (of_set[n], of_pictures[n]) for n in range(4)})
    return found


@pytest.mark.parametrize("name", [*SETS, *HUMANS])
def test_scores_have_the_digits_of_the_coco_evaluation(name):
    candidates, theirs = (SETS | HUMANS)[name]()
    expected = coco(candidates, theirs)
    found = score(candidates, theirs)
    assert set(found) == set(expected) == set(DEFAULT)
    for metric, (of_set, of_pictures) in expected.items():
        assert found[metric].value == pytest.approx(of_set, rel=0, abs=TOLERANCE), metric
        np.testing.assert_allclose(found[metric].per_picture, of_pictures, rtol=0, atol=TOLERANCE, err_msg=metric)


@pytest.mark.parametrize("name", ["of all kinds", "other white space", "unequal numbers of references"])
def test_each_metric_alone_gives_the_digits_of_the_table(name):
    candidates, theirs = SETS[name]()
    found = score(candidates, theirs)
    for metric, (of_set, of_pictures) in {
        "ROUGE-L": rouge_l(candidates, theirs),
        "CIDEr": cider_d(candidates, theirs),
        "BLEU-4": (bleu(candidates, theirs)[0][3], bleu(candidates, theirs)[1][:, 3]),
    }.items():
        assert found[metric].value == pytest.approx(of_set, abs=1e-12)
        np.testing.assert_array_equal(found[metric].per_picture, of_pictures)


def test_there_are_enough_sets():
    assert len(SETS) >= 20
    assert all(len(make()[0]) == len(make()[1]) for make in SETS.values())
