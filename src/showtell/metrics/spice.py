"""SPICE by its own Java program, with the parser's models from a folder that the user supplies. N pictures.

Anderson, Fernando, Johnson, Gould: "SPICE: Semantic Propositional Image Caption Evaluation", ECCV 2016,
arXiv:1607.08822: the F-score of the objects, attributes and relations that candidate and references speak of.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from showtell.errors import DataError, JavaError
from showtell.metrics.jvm import JavaProcess, find_program
from showtell.metrics.ngrams import check_count, check_references
from showtell.metrics.score import Score, mean_score

MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
SOURCE = "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
TIMEOUT = 7200.0  # seconds, of the whole run


def spice(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    models: Path | None,
    *,
    timeout: float = TIMEOUT,
) -> Score:
    """SPICE of one candidate for each picture against the picture's references, 0..1; a set's score is the mean.

    `models` is a folder with the two files `MODELS`; nothing is written there. A picture for which SPICE gives no
    number has NaN, and so has its set, as in the COCO caption evaluation. Java has `timeout` seconds for all pictures.
    Raises `MissingExtraError` where Java or SPICE is not installed, `DataError` where `models` lacks a file, there is
    no picture, a picture has no reference, or the candidates are more or fewer; `JavaError` where SPICE fails or takes
    too long.
    """
    check_references(references)
    check_count(len(candidates), len(references))
    java, jar = find_program("SPICE", "spice/spice-1.0.jar")
    class_path = os.pathsep.join(map(str, [jar, *_find_models(models)]))
    content = [
        {"image_id": number, "test": candidate, "refs": list(texts)}
        for number, (candidate, texts) in enumerate(zip(candidates, references, strict=True))
    ]
    with tempfile.TemporaryDirectory(prefix="showtell-spice-") as name:
        folder = Path(name)
        (folder / "captions.json").write_text(json.dumps(content), encoding="ascii")
        options = ["captions.json", "-out", "scores.json", "-subset", "-silent"]
        # Without `-cache`: it would help only a later run, and needs a folder that stays.
        command = [java, "-Xmx8G", "-cp", class_path, "edu.anu.spice.SpiceScorer", *options]
        with JavaProcess("SPICE", command, timeout, folder) as process:
            process.finish()
        scores = _read_scores(folder / "scores.json", len(content))
    return mean_score("SPICE", scores)


def _find_models(folder: Path | None) -> list[Path]:
    get = f"expected {' and '.join(MODELS)} from {SOURCE}"
    if folder is None:
        raise DataError(f"SPICE needs a folder with its models, which is not given; {get}")
    paths = [folder.absolute() / name for name in MODELS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: {' and '.join(missing)} missing, which SPICE needs; {get}")
    if os.pathsep in str(folder.absolute()):
        raise DataError(f"{folder}: Java cannot read a folder with {os.pathsep!r} in its name; rename or link it")
    return paths


def _read_scores(path: Path, count: int) -> list[float]:
    """The score of each picture, in the order of their numbers."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        scores = {item["image_id"]: _to_float(item["scores"]["All"]["f"]) for item in results}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise JavaError(f"SPICE: Java left no readable scores ({type(error).__name__}: {error})") from error
    if scores.keys() != set(range(count)) or len(results) != count:
        raise JavaError(f"SPICE: Java left {len(results)} scores, expected one for each of {count} pictures")
    return [scores[number] for number in range(count)]


def _to_float(value: Any) -> float:
    """SPICE writes null where nothing can be divided."""
    return float("nan") if value is None else float(value)
