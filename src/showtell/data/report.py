"""The report on a data set as people read it."""

from collections import defaultdict
from collections.abc import Iterable

from showtell.data.check import Report, Spread
from showtell.data.dataset import ERRORS, NOTES, SPLITS, Problem
from showtell.names import printable

_SHOWN = 10  # problems of one kind


def format_report(report: Report, *, shown: int = _SHOWN) -> str:
    """A table of the numbers, then the problems by kind, `shown` of each (0 shows all)."""
    splits = [split for split in (*SPLITS, "none") if report.pictures[split]]
    rows = [("", "total", *(split if split != "none" else "no split" for split in splits))]
    for title, counts in (("pictures", report.pictures), ("captions", report.captions)):
        rows.append((title, f"{sum(counts.values()):,}", *(f"{counts[split]:,}" for split in splits)))
    histogram = "  ".join(f"{count}: {pictures:,}" for count, pictures in _first(report.captions_histogram))
    vocabulary = "captions of train" if report.vocabulary_split == "train" else "all captions"
    facts = [
        ("captions a picture", f"{_spread(report.captions_per_picture)}   (captions: pictures  {histogram})"),
        ("words a caption", _spread(report.caption_words)),
        (f"vocabulary, {vocabulary}", ""),
        *(
            (f"  words seen {size.threshold} times or more", f"{size.words:,}, {100 * size.covered:.2f} % of the text")
            for size in report.vocabulary
        ),
        ("pictures decoded", f"{report.decoded:,}"),
        ("  width, pixels", _spread(report.width)),
        ("  height, pixels", _spread(report.height)),
        ("  file size, KB", f"{_spread(report.file_bytes, 1000)}   together {report.total_bytes / 1e6:,.1f} MB"),
    ]
    read = ", ".join(report.files[:3]) + (f" and {len(report.files) - 3:,} more" if len(report.files) > 3 else "")
    lines = [f"{printable(report.root)}: format {report.format}, read from {printable(read)}", ""]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = max(widths[0], *(len(name) for name, _ in facts))
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append(f"{row[0]:<{left}}  {'  '.join(cells)}".rstrip())
    lines += ["", *(f"{name:<{left}}  {value}".rstrip() for name, value in facts), ""]
    return "\n".join(lines + _problems(report.problems, shown)) + "\n"


def _problems(problems: Iterable[Problem], shown: int) -> list[str]:
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    errors = sum(len(by_kind[kind]) for kind in ERRORS)
    lines = [f"problems: {errors:,}" if errors else "problems: none"]
    for level, kinds in (("error", ERRORS), ("note", NOTES)):
        for kind, meaning in kinds.items():
            found = by_kind[kind]
            if not found:
                continue
            lines.append(f"{level}: {kind} ({len(found):,}): {meaning}")
            visible = found[:shown] if shown else found
            lines += [printable(f"  {problem.where}: {problem.what}") for problem in visible]
            if len(found) > len(visible):
                lines.append(f"  ... and {len(found) - len(visible):,} more; --all shows them")
    return lines


def _spread(spread: Spread, unit: float = 1) -> str:
    low, high = _number(spread.smallest / unit), _number(spread.largest / unit)
    return f"{low} to {high}, mean {spread.mean / unit:,.1f}, median {_number(spread.median / unit)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _first(histogram: dict[int, int], limit: int = 8) -> list[tuple[str, int]]:
    """The histogram in `limit` bars at most; the last gathers the rest."""
    bars = [(str(count), pictures) for count, pictures in histogram.items()]
    if len(bars) <= limit:
        return bars
    return [*bars[: limit - 1], (f"{bars[limit - 1][0]} or more", sum(pictures for _, pictures in bars[limit - 1 :]))]
