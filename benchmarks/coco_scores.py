"""The scores that papers print, by the COCO caption evaluation itself (pycocoevalcap, with its Java tokenizer).

    python benchmarks/coco_scores.py --data DIR --model BUNDLE [--beam N]     caption the split, then score
    python benchmarks/coco_scores.py --data DIR --candidates FILE.jsonl       score captions that are there
    python benchmarks/coco_scores.py --data DIR --human 0                     score people's first captions

Candidates are what `showtell caption --format jsonl` or `showtell evaluate --out` wrote: one object a line with
`caption`, and `id` or `path`; of several captions for one picture the first counts. `--human N` takes caption N of each
picture as candidate and the others as references, which tells how far a score is from people's. `--at-least
CIDEr=52` sets a bar; the exit code is 1 where one is missed. Prints a table, and last the scores as one line of JSON.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import Row, report
from showtell.caption import Failure
from showtell.captioner import Captioner
from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.metrics.repetition import repeats
from showtell.tokenizers import split_words

REPEATING, LENGTH = "repeating captions", "words per caption"
UNITS = {REPEATING: "%", LENGTH: "words"}  # all others are points of 100


def main() -> int:
    options = _arguments()
    examples = [e for e in read_dataset(options.data).examples if e.split == options.split and e.captions]
    if not examples:
        raise SystemExit(f"{options.data}: no picture with captions in split {options.split!r}; see --split")
    references = {e.id: list(e.captions) for e in examples}
    if options.human is not None:
        candidates = {i: texts.pop(options.human) for i, texts in references.items() if len(texts) > options.human}
        what = f"people's caption {options.human} against their others"
        references = {i: texts for i, texts in references.items() if i in candidates and texts}
        candidates = {i: candidates[i] for i in references}
    elif options.candidates:
        candidates, what = read_candidates(options.candidates, examples), str(options.candidates)
    else:
        candidates = caption(options.model, examples, options.beam)
        what = f"{options.model}, beam {options.beam or 'of the model'}"
    missing = [i for i in references if i not in candidates]
    if missing or not references:
        raise SystemExit(
            f"{what}: {len(missing)} of {len(references)} pictures of {options.split!r} have no caption, such as "
            f"{missing[:1]}; expected one for each"
        )
    scores = score(candidates, references)
    bars = dict(options.at_least)
    if unknown := set(bars) - set(scores):
        raise SystemExit(f"--at-least {unknown.pop()}: no such score; known are {', '.join(scores)}")
    rows = [Row(name, value, UNITS.get(name, "points"), bars.get(name), True) for name, value in scores.items()]
    code = report(f"{what}: {len(references):,} pictures of {options.data}, split {options.split}", rows)
    print(json.dumps({"what": what, "split": options.split, "pictures": len(references), "scores": scores}))
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", default="test", help="train, val or test (the default)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--candidates", type=Path, help="captions as JSON lines")
    source.add_argument("--model", type=Path, help="bundle or run that captions the pictures")
    source.add_argument("--human", type=int, metavar="N", help="people's caption N is the candidate")
    parser.add_argument("--beam", type=int, help="beam width instead of the model's own")
    parser.add_argument("--at-least", type=_bar, action="append", default=[], metavar="NAME=VALUE", help="a bar")
    return parser.parse_args()


def _bar(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def read_candidates(path: Path, examples: Sequence[Example]) -> dict[str, str]:
    """Captions by example id. A line names its picture by `id`, or by `path`, of which the file name must be unique."""
    by_name: dict[str, list[str]] = {}
    for example in examples:
        by_name.setdefault(example.image.name, []).append(example.id)
    known = {example.id for example in examples}
    captions: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        entry = json.loads(line)
        if "caption" not in entry:
            continue  # a picture that failed, which is missed later if it is one of the split
        key = str(entry.get("id", ""))
        if key not in known:
            ids = by_name.get(Path(entry.get("path", key)).name, [])
            if len(ids) > 1:
                raise SystemExit(f"{path}:{number}: {len(ids)} pictures have this file name; name the picture by id")
            if not ids:
                continue  # of another split
            key = ids[0]
        captions.setdefault(key, entry["caption"])
    return captions


def caption(model: Path, examples: Sequence[Example], beam: int | None) -> dict[str, str]:
    """Caption each picture with a bundle or run, as `showtell caption` does."""
    overrides: dict[str, Any] = {} if beam is None else {"beam_width": beam}
    answers = Captioner.load(model).stream((example.image for example in examples), num_captions=1, **overrides)
    captions = {}
    for example, answer in zip(examples, answers, strict=True):
        if isinstance(answer, Failure):
            print(f"{answer.source}: {answer.error}", file=sys.stderr)
        else:
            captions[example.id] = answer.text
    return captions


def score(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Scores by name, in points of 100; candidates of other pictures than those of the references are left out."""
    if shutil.which("java") is None:
        raise SystemExit("java: not found; the COCO caption evaluation needs a Java runtime for tokenizer and METEOR")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    theirs = tokenizer.tokenize({i: [_entry(text) for text in texts] for i, texts in references.items()})
    ours = tokenizer.tokenize({i: [_entry(candidates[i])] for i in references})
    bleu = Bleu(4).compute_score(theirs, ours, verbose=0)[0]
    scores = {f"BLEU-{n}": 100 * float(value) for n, value in enumerate(bleu, start=1)}
    for name, scorer in (("METEOR", Meteor()), ("ROUGE-L", Rouge()), ("CIDEr", Cider())):
        scores[name] = 100 * float(scorer.compute_score(theirs, ours)[0])
    words = [split_words(candidates[i]) for i in references]
    scores[REPEATING] = 100 * sum(map(repeats, words)) / len(words)
    scores[LENGTH] = sum(map(len, words)) / len(words)
    return scores


def _entry(text: str) -> dict[str, str]:
    # The tokenizer reads one caption a line, and Java takes more characters for line ends than are replaced there.
    return {"caption": " ".join(text.split())}


if __name__ == "__main__":
    sys.exit(main())
