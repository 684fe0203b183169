"""How a run was made: the commands that make such a one anew, those of earlier runs first."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from showtell.errors import ShowtellError
from showtell.recipe import Recipe
from showtell.recipe_reader import read_recipe, recipe_names, toml_value
from showtell.training.run import Run, open_run
from showtell.training.soup import ingredients


class Commands:
    """The commands of runs in `lines`, each run once; they are named RUN1, RUN2, ... in this order.

    Folders and files have general names: whose computer they lay on is nobody's business.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[Path, str] = {}

    def add(self, run: Run) -> str:
        """Tell how a run was made, and before it those that it came from. Returns its name."""
        folder = run.folder.absolute()
        if folder not in self._names:
            averaged, shares = ingredients(run.folder)
            words = self._average(averaged, shares) if averaged else self._train(run)
            self._names[folder] = f"RUN{len(self.lines) + 1}"
            words[-1] += f" --out {self._names[folder]}"
            words += [] if averaged else [f"--set {quote(f'{key}={value}')}" for key, value in _changes(run.recipe)]
            self.lines.append(" \\\n    ".join(words))
        return self._names[folder]

    def _average(self, runs: Sequence[Path], shares: Sequence[float]) -> list[str]:
        names = " ".join(self._earlier(run) for run in runs)
        return [f"showtell average {names}", *([f"--shares {','.join(f'{s:g}' for s in shares)}"] if shares else [])]

    def _train(self, run: Run) -> list[str]:
        source = run.source
        words = [f"showtell train --recipe {run.recipe.name}"]
        words += [f"--from {self._earlier(Path(run.start_from))}"] if run.start_from else []
        words += [f"--teacher {self._earlier(Path(teacher))}" for teacher in source.teachers]
        words += ["--captions FILE"] * len(source.captions)
        words += ["--text FILE"] * bool(source.text) + ["--word-vectors FILE"] * bool(source.word_vectors)
        return [*words, "--data DIR" + " --regions DIR" * bool(source.regions)]

    def _earlier(self, folder: Path) -> str:
        try:
            return self.add(open_run(folder))
        except ShowtellError:  # the earlier run is gone, wholly or in part; that there was one is still told
            return "EARLIER-RUN"


def _changes(recipe: Recipe) -> list[tuple[str, str]]:
    """Keys of a recipe that differ from those of the shipped recipe of its name; all, where none is shipped."""
    shipped = read_recipe(recipe.name).to_dict() if recipe.name in recipe_names() else {}
    return [
        (f"{table}.{key}", value if isinstance(value, str) else toml_value(value))
        for table, values in recipe.to_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if shipped.get(table, {}).get(key) != value
    ]
