"""`showtell data download`: known data sets, loaded, checked, unpacked and ready to train on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from showtell.data.places import DataSource

_FOLDER = click.Path(path_type=Path)


@click.command("download")
@click.argument("name", required=False)
@click.argument("folder", metavar="[DIR]", type=_FOLDER, required=False)
@click.option("--parts", metavar="PART,...", help="Load these alone.  [default: those that --list marks with *]")
@click.option("--list", "listed", is_flag=True, help="Tell the data sets, their parts and sizes, and load nothing.")
@click.option("--sources", type=_FOLDER, help="TOML file with other addresses, or with data sets of your own.")
@click.option("--keep-archives", is_flag=True, help="Leave the archives in DIR/.download when they are unpacked.")
def command(
    name: str | None, folder: Path | None, parts: str | None, listed: bool, sources: Path | None, keep_archives: bool
) -> int:
    """Load a data set, coco2014, coco2017, flickr8k or flickr30k, into the folder DIR.

    \b
    showtell data download --list                              what there is, and how large
    showtell data download flickr8k data/flickr8k
    showtell data download coco2014 data/coco --parts captions,val

    Stopped or cut off, the same command goes on from where it was. Sizes and checksums are checked where they are
    known, archives are unpacked so that nothing is written outside DIR, and what is there already is not loaded again.
    """
    from showtell.data.places import read_places

    places = read_places(sources)
    if name is not None and name not in places:
        raise click.UsageError(f"data set {name!r} is not known, expected one of {', '.join(places)}")
    if listed:
        chosen = [places[name]] if name else list(places.values())
        click.echo("\n\n".join(_described(source) for source in chosen))
        click.echo("\n* is loaded unless --parts names others", err=True)
        return 0
    if name is None or folder is None:
        raise click.UsageError("expected a data set and a folder, such as `flickr8k data/flickr8k`; --list tells more")
    wanted = _parts(places[name], parts)
    return _load(places[name], wanted, folder, keep_archives)


def _load(source: "DataSource", parts: list[str], folder: Path, keep_archives: bool) -> int:
    from showtell.data.disk import files_text, size_text
    from showtell.data.obtain import obtain

    if source.terms:
        click.echo(f"{source.name}: {source.terms}; see {source.home or 'its authors'}", err=True)
    bars = _Bars()
    try:
        obtained = obtain(source, parts, folder, watcher=bars, keep_archives=keep_archives)
    except KeyboardInterrupt:
        bars.close()
        click.echo("what came is kept: the same command goes on from there", err=True)
        raise
    finally:
        bars.close()
    failures = [*obtained.failures, *(_how_to_ask(source, part, folder) for part in parts)]
    failures = [failure for failure in failures if failure]
    if placed := obtained.placed.values():
        files, size = sum(item.files for item in placed), sum(item.bytes for item in placed)
        click.echo(f"{folder}: {source.name}, {files_text(files)}, {size_text(size)}")
    for failure in failures:
        click.echo(f"showtell: {failure}", err=True)
    if not failures and (line := _what_next(source, folder)):
        click.echo(line, err=True)
    return 1 if failures else 0


def _parts(source: "DataSource", text: str | None) -> list[str]:
    if text is None:
        return list(source.parts)
    wanted = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in wanted:
        if part not in source.all_parts:
            known = ", ".join(source.all_parts)
            raise click.UsageError(f"--parts: {source.name} has no part {part!r}, expected some of {known}")
    return wanted


def _described(source: "DataSource") -> str:
    """A data set as --list shows it."""
    from showtell.data.disk import size_text

    lines = [f"{source.name}: {source.title}", *(f"  {line}" for line in (source.home, source.terms) if line)]
    width = max(map(len, source.all_parts))
    for part in source.all_parts:
        files = [file for file in source.files if file.part == part]
        exact = all(file.bytes for file in files)
        size = size_text(sum(file.size for file in files)) if all(file.size for file in files) else "?"
        asked = [entry.where for entry in source.ask if entry.part == part]
        gives = list(dict.fromkeys(name for file in files for name in (file.gives or (file.name,))))
        more = f" and {len(gives) - 2} more" if len(gives) > 2 else ""
        what = f"given out on request: {asked[0]}" if asked else ", ".join(gives[:2]) + more
        mark = "*" if part in source.parts else " "
        size = "" if asked else size if exact or size == "?" else f"about {size}"
        lines.append(f"  {mark} {part:{width}}  {size:>12}  {what}")
    return "\n".join(lines)


def _how_to_ask(source: "DataSource", part: str, folder: Path) -> str:
    """What to do for a part that only its authors give out; empty where it is no such part."""
    for asked in source.ask:
        if asked.part == part:
            then = asked.then.replace("{folder}", str(folder))
            return f"{source.name}: the {part} are given out on request: fill in the form at {asked.where}, then {then}"
    return ""


def _what_next(source: "DataSource", folder: Path) -> str:
    """The command that a newcomer would type now."""
    from showtell.data.disk import size_text
    from showtell.data.obtain import placed_before

    here = {kind for file in source.files if placed_before(file, folder) for kind in file.holds}
    missing = {"captions", "pictures"} - here
    if not missing:
        return f"next: showtell data check {folder}"
    if len(missing) == 2:
        return ""
    kind = missing.pop()
    for asked in source.ask:
        if kind in asked.holds:
            return f"{_how_to_ask(source, asked.part, folder)}; next: showtell data check {folder}"
    files = [file for file in source.files if kind in file.holds]
    if not files:
        return ""
    least = min(files, key=lambda file: (file.part not in source.parts, file.size))
    size = f" loads {'' if least.bytes else 'about '}{size_text(least.size)}" if least.size else ""
    return f"no {kind} yet: `showtell data download {source.name} {folder} --parts {least.part}`{size}"


class _Bars:
    """A bar for what goes on, on a terminal; lines for what people should know."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._of = ("", "")

    def progress(self, doing: str, name: str, done: int, total: int) -> None:
        """Show `done` of `total` bytes; 0 is an unknown total."""
        import sys

        from tqdm import tqdm

        if self._of != (doing, name):
            self.close()
            self._of = (doing, name)
            self._bar = tqdm(
                desc=f"{doing} {name}",
                total=total or None,
                initial=done,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=not sys.stderr.isatty(),
            )
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def notice(self, line: str) -> None:
        self.close()
        click.echo(line, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._of = None, ("", "")
