"""Captions and failures -> text. A writer is a function on a stream; `WRITERS` names them."""

import csv
import json
from collections.abc import Callable, Iterable
from typing import TextIO

from showtell.caption import Caption, Failure
from showtell.names import printable
from showtell.writers.aside import write_aside

__all__ = ["WRITERS", "write_aside", "write_csv", "write_jsonl", "write_txt"]

Results = Iterable[Caption | Failure]
_DECIMALS = 4  # of a score


def write_txt(results: Results, out: TextIO) -> None:
    """`path<TAB>caption`, a line for each caption; failures leave no line.

    For people: tabs, line breaks and undecodable bytes of a path are escaped, so that a line stays a line.
    """
    for result in results:
        if isinstance(result, Caption):
            out.write(f"{printable(result.source)}\t{result.text}\n")


def write_jsonl(results: Results, out: TextIO) -> None:
    """One JSON object a line: `path`, `caption` and `score`, or `path` and `error`. Paths come back exactly."""
    for result in results:
        row: dict[str, str | float] = {"path": result.source}
        if isinstance(result, Caption):
            row |= {"caption": result.text, "score": round(result.score, _DECIMALS)}
        else:
            row |= {"error": str(result.error)}
        # A name that is no UTF-8 can be written in JSON's own escapes only.
        out.write(json.dumps(row, ensure_ascii=not _is_utf8(result.source)) + "\n")


def write_csv(results: Results, out: TextIO) -> None:
    """A header, then `path,caption,score,error` for each caption or failure, quoted as spreadsheets read it."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "caption", "score", "error"])
    for result in results:
        path = result.source if _is_utf8(result.source) else printable(result.source)
        if isinstance(result, Caption):
            writer.writerow([path, result.text, round(result.score, _DECIMALS), ""])
        else:
            writer.writerow([path, "", "", str(result.error)])


WRITERS: dict[str, Callable[[Results, TextIO], None]] = {"txt": write_txt, "jsonl": write_jsonl, "csv": write_csv}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
