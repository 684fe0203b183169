"""TOML, a run's JSON or a bundle's -> a recipe, with one clear line where a key or a value is not what it should be."""

import copy
import dataclasses
import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from showtell.architectures import DECODER_CHOICES, DECODERS
from showtell.decoding.options import DecodeOptions
from showtell.errors import RecipeError
from showtell.recipe import EncoderOptions, Recipe, TrainingOptions, VocabularyOptions
from showtell.tokenizers import TOKENIZERS
from showtell.vocabulary import UNKNOWN_RULES

LARGEST = 2**63 - 1  # of whole numbers, which torch and numpy keep in 64 bits

# Where a key takes one of a few words: any other is refused when the recipe is read, not an hour into training.
CHOICES = {
    "encoder.output": ("grid", "pooled", "flat"),
    "encoder.fit": ("", "squash", "crop", "pad"),
    **{f"decoder.{key}": values for key, values in DECODER_CHOICES.items()},
    "vocabulary.tokenizer": tuple(TOKENIZERS),
    "vocabulary.unknown": UNKNOWN_RULES,
    "training.captions": ("all", "first", "added"),
    "training.sampling": ("pictures", "captions", "order", "replacement", "length"),
    "training.baseline": ("others", "greedy"),
    "training.choose_by": ("CIDEr", "BLEU-4", "loss"),
    "training.dropout_schedule": ("constant", "rising", "falling"),
    "training.optimizer": ("adam", "adamw", "rmsprop"),
    "training.schedule": ("cosine", "constant"),
    "training.amp": ("auto", "off", "bf16"),
}


def recipe_names() -> list[str]:
    """Names of the recipes that ship inside the package."""
    return sorted(f.name.removesuffix(".toml") for f in _recipes().iterdir() if f.name.endswith(".toml"))


def read_recipe(name: str, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe by its name in the package or by the path of a TOML file, changed by `key=value` settings.

    Values of settings are TOML ("training.batch=64", "decoder.cell=gru"); text needs no quotes.
    Raises `RecipeError` naming the key, and the known keys, where one is unknown or a value is of another type.
    """
    if name.endswith(".toml") or Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{name}: cannot be read ({error}); give a recipe's name or a TOML file") from error
    elif name in recipe_names():
        text = (_recipes() / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise RecipeError(f"no recipe {name!r}{_suggest(name, recipe_names())}; known are {', '.join(recipe_names())}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not valid TOML ({error})") from error
    return recipe_from_dict(table, settings, where=name)


def recipe_from_dict(table: Mapping[str, Any], settings: Iterable[str] = (), *, where: str = "recipe") -> Recipe:
    """Build a recipe from nested tables, as `Recipe.to_dict` gives them."""
    changed = copy.deepcopy(dict(table))  # settings must not change the caller's
    for setting in settings:
        _apply(changed, setting)
    recipe: Recipe = _build(Recipe, changed, where, "")
    return recipe


def toml_value(value: Any) -> str:
    """A value of a recipe's key as TOML writes it, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, truth and lists are written alike


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _recipes() -> Any:
    return resources.files("showtell") / "recipes"


def _apply(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {setting!r}: expected key=value, such as training.batch=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {setting!r}: {parent!r} is no table")
    table[last] = value


def _build(kind: Any, table: Any, where: str, prefix: str) -> Any:
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}: {prefix.rstrip('.')} is {table!r}, expected a table of keys")
    if prefix == "decoder.":
        architecture = table.get("architecture", "attend")
        if not isinstance(architecture, str) or architecture not in DECODERS:
            close = _suggest(str(architecture), DECODERS)
            raise RecipeError(
                f"{where}: decoder.architecture is {architecture!r}{close}, known are {', '.join(DECODERS)}"
            )
        kind = DECODERS[architecture]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            close = _suggest(key, fields) or ("" if prefix else _in_a_table(key))
            raise RecipeError(f"{where}: unknown key {prefix + key!r}{close}; known are {', '.join(fields)}")
        if dataclasses.is_dataclass(hints[key]):
            values[key] = _build(hints[key], value, where, f"{prefix}{key}.")
        else:
            values[key] = _check(value, hints[key], where, prefix + key)
    missing = [
        prefix + name
        for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where}: {missing[0]!r} is missing; it has no default")
    try:
        return kind(**values)
    except RecipeError as error:  # an impossible value: the options know the key, not the file
        raise RecipeError(f"{where}: {error}") from error


def _check(value: Any, hint: Any, where: str, key: str) -> Any:
    base = get_origin(hint) or hint
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if base is str and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    of_other = base is list and isinstance(value, list) and any(not isinstance(v, get_args(hint)) for v in value)
    if not isinstance(value, base) or (base is int and isinstance(value, bool)) or of_other:
        expected = f"{base.__name__}{list(get_args(hint)) or ''}"
        raise RecipeError(f"{where}: {key} is {value!r}, expected {expected}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{where}: {key} is {value}, expected a finite number")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise RecipeError(f"{where}: {key} is {value}, expected {LARGEST} at most")
    if key in CHOICES and value not in CHOICES[key]:
        known = ", ".join(choice or "empty" for choice in CHOICES[key])
        raise RecipeError(f"{where}: {key} is {value!r}{_suggest(value, CHOICES[key])}, known are {known}")
    return value


def _in_a_table(key: str) -> str:
    """Where a key stands that is named without its table."""
    tables = {"encoder": EncoderOptions, "vocabulary": VocabularyOptions, "training": TrainingOptions}
    for table, kind in {**tables, "decoding": DecodeOptions}.items():
        if key in {f.name for f in dataclasses.fields(kind)}:
            return f" (did you mean '{table}.{key}'?)"
    return ""


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, [k for k in known if k], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
