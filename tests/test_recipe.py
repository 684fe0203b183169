import dataclasses
import json
import re
import tomllib
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.architectures import AttendOptions
from showtell.decoding.options import DecodeOptions
from showtell.errors import RecipeError
from showtell.recipe import EncoderOptions, Recipe, TrainingOptions, VocabularyOptions
from showtell.recipe_reader import CHOICES, read_recipe, recipe_from_dict, recipe_names

TABLES = {
    "encoder": EncoderOptions,
    "decoder": AttendOptions,
    "vocabulary": VocabularyOptions,
    "training": TrainingOptions,
    "decoding": DecodeOptions,
}
SMALLEST = {"name": "mine", "summary": "a test", "encoder": {"name": "resnet10t"}, "decoder": {}}


def _file(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_reads_and_is_what_its_file_says(name):
    recipe = read_recipe(name)
    table = tomllib.loads((resources.files("showtell") / "recipes" / f"{name}.toml").read_text())
    assert recipe.name == name
    assert recipe.summary
    for key, value in table.items():
        if isinstance(value, dict):
            assert {k: getattr(getattr(recipe, key), k) for k in value} == value
        else:
            assert getattr(recipe, key) == value


def test_the_package_has_the_embedded_model_and_the_generated_shapes():
    assert {"pocket", "shapes"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_a_dict_and_json(name):
    recipe = read_recipe(name, ["encoder.arguments.drop_rate=0.1", "training.seed=7"])
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_a_recipe_leaves_out_has_the_default():
    recipe = recipe_from_dict(SMALLEST)
    assert recipe.encoder == EncoderOptions(name="resnet10t")
    assert recipe.training == TrainingOptions()
    assert recipe.decoding == DecodeOptions()


def test_a_toml_file_is_a_recipe_too(tmp_path):
    path = _file(tmp_path, 'name = "mine"\nsummary = "s"\n[encoder]\nname = "e"\n[decoder]\ncell = "gru"\n')
    assert read_recipe(path, ["decoder.hidden=3"]).decoder == AttendOptions(cell="gru", hidden=3)


@pytest.mark.parametrize(
    ("setting", "table", "key", "value"),
    [
        ("training.batch=64", "training", "batch", 64),
        ("training.learning_rate=3e-3", "training", "learning_rate", 3e-3),
        ("training.learning_rate=1", "training", "learning_rate", 1.0),
        ("training.flip=true", "training", "flip", True),
        ("decoder.cell=gru", "decoder", "cell", "gru"),
        ('decoder.cell="gru"', "decoder", "cell", "gru"),
        (" decoder.cell = gru ", "decoder", "cell", "gru"),
        ("encoder.layer=layer2.0.conv1", "encoder", "layer", "layer2.0.conv1"),
        ("encoder.layer=", "encoder", "layer", ""),
        ("encoder.layer=4", "encoder", "layer", "4"),
        ("encoder.arguments.img_size=64", "encoder", "arguments", {"img_size": 64}),
        ("encoder.arguments={ a = 1, b = 'x' }", "encoder", "arguments", {"a": 1, "b": "x"}),
        ("decoding.beam_width=1", "decoding", "beam_width", 1),
    ],
)
def test_a_setting_has_the_type_of_its_key(setting, table, key, value):
    found = getattr(getattr(recipe_from_dict(SMALLEST, [setting]), table), key)
    assert found == value
    assert type(found) is type(value)


def test_later_settings_win():
    assert read_recipe("shapes", ["training.batch=3", "training.batch=4"]).training.batch == 4


def test_settings_leave_the_callers_tables_alone():
    table = {**SMALLEST, "encoder": {"name": "e", "arguments": {"a": 1}}}
    before = json.dumps(table)
    recipe = recipe_from_dict(table, ["encoder.arguments.a=2", "training.batch=3"])
    assert recipe.encoder.arguments == {"a": 2}
    assert json.dumps(table) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainig.batch=3", r"shapes: unknown key 'trainig' \(did you mean 'training'\?\); known are name, .*decoding"),
        ("training.bach=3", r"unknown key 'training\.bach' \(did you mean 'batch'\?\); known are epochs, batch,.*seed"),
        ("decoder.hiden=3", r"unknown key 'decoder\.hiden' \(did you mean 'hidden'\?\); known are architecture, cell"),
        ("decoding.beam=3", r"unknown key 'decoding\.beam'.*known are beam_width"),
        ("zzz=3", r"unknown key 'zzz'; known are"),
        ("batch=3", r"unknown key 'batch' \(did you mean 'training\.batch'\?\); known are name"),
        ("beam_width=3", r"unknown key 'beam_width' \(did you mean 'decoding\.beam_width'\?\)"),
        ("training.learning_rate=inf", r"training\.learning_rate is inf, expected a finite number"),
        ("training.weight_decay=nan", r"training\.weight_decay is nan, expected a finite number"),
        ("decoding.length_penalty=nan", r"decoding\.length_penalty is nan, expected a finite number"),
        ("training.seed=99999999999999999999", r"training\.seed is 9{20}, expected 9223372036854775807 at most"),
        ("training.batch=many", r"training\.batch is 'many', expected int"),
        ("training.batch=1.5", r"training\.batch is 1\.5, expected int"),
        ("training.batch=true", r"training\.batch is True, expected int"),
        ("training.learning_rate=fast", r"training\.learning_rate is 'fast', expected float"),
        ("training.learning_rate=true", r"training\.learning_rate is True, expected float"),
        ("training.flip=1", r"training\.flip is 1, expected bool"),
        ("training.flip=yes", r"training\.flip is 'yes', expected bool"),
        ("decoder.cell=[1]", r"decoder\.cell is \[1\], expected str"),
        ("encoder.arguments=3", r"encoder\.arguments is 3, expected dict"),
        ("training=3", r"training is 3, expected a table of keys"),
        ("name.first=3", r"--set 'name\.first=3': 'name' is no table"),
        ("training.batch", r"--set 'training\.batch': expected key=value, such as training\.batch=64"),
        ("=3", r"--set '=3': expected key=value"),
        ("decoder.cell=lsmt", r"decoder\.cell is 'lsmt' \(did you mean 'lstm'\?\), known are lstm, gru"),
        ("encoder.fit=stretch", r"encoder\.fit is 'stretch', known are empty, squash, crop, pad"),
        (
            "decoder.architecture=transformers",
            r"decoder\.architecture is 'transformers' \(did you mean 'transformer'\?\), known are attend",
        ),
        ("decoder.architecture=[]", r"decoder\.architecture is \[\], known are attend"),
        ("training.epochs=0", r"shapes: training\.epochs is 0, expected 1 or more"),
        ("training.batch=-1", r"training\.batch is -1, expected 1 or more"),
        ("training.seed=-1", r"training\.seed is -1, expected 0 or more"),
        ("training.limit_captions=-1", r"training\.limit_captions is -1, expected 0 or more"),
        (
            "training.sampling=lengths",
            r"sampling is 'lengths' \(did you mean 'length'\?\), known are pictures, captions",
        ),
        ("training.captions=last", r"training\.captions is 'last', known are all, first"),
        ("training.count_padding=1", r"training\.count_padding is 1, expected bool"),
        ("vocabulary.unknown=skip", r"vocabulary\.unknown is 'skip', known are token, drop"),
        ("vocabulary.tokenizer=nltk", r"vocabulary\.tokenizer is 'nltk', known are words, keras, letters, treebank"),
        ("training.workers=-1", r"training\.workers is -1, expected 0 or more"),
        ("training.captions_per_picture=-5", r"training\.captions_per_picture is -5, expected 0 or more"),
        ("training.warmup_epochs=-0.5", r"training\.warmup_epochs is -0\.5, expected 0 or more"),
        ("training.learning_rate=0", r"training\.learning_rate is 0\.0, expected more than 0"),
        ("training.learning_rate=nan", r"training\.learning_rate is nan, expected a finite number"),
        ("training.label_smoothing=1", r"training\.label_smoothing is 1\.0, expected 0 or more and less than 1"),
        ("decoder.dropout=1", r"decoder\.dropout is 1\.0, expected 0 or more and less than 1"),
        ("decoder.region_dropout=-0.1", r"decoder\.region_dropout is -0\.1, expected 0 or more and less than 1"),
        ("decoder.hidden=0", r"decoder\.hidden is 0, expected 1 or more"),
        ("decoder.projection=-1", r"decoder\.projection is -1, expected 0 or more"),
        ("encoder.size=-64", r"encoder\.size is -64, expected 0 or more"),
        ("vocabulary.min_count=0", r"vocabulary\.min_count is 0, expected 1 or more"),
        ("vocabulary.max_size=-1", r"vocabulary\.max_size is -1, expected 0 or more"),
        ("decoding.beam_width=0", r"shapes: decoding\.beam_width is 0, expected 1 or more"),
    ],
)
def test_a_wrong_setting_is_one_line_that_tells_what_would_be_right(setting, message):
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe("shapes", [setting])
    assert "\n" not in str(caught.value)


def test_an_impossible_value_names_the_file_that_holds_it(tmp_path):
    path = _file(tmp_path, 'name = "m"\nsummary = "s"\n[encoder]\nname = "e"\n[decoder]\n[training]\nepochs = 0\n')
    with pytest.raises(RecipeError, match=rf"^{re.escape(path)}: training\.epochs is 0, expected 1 or more$"):
        read_recipe(path)


@pytest.mark.parametrize("missing", ["name", "summary", "encoder", "decoder"])
def test_a_key_without_default_must_be_there(missing):
    table = {key: value for key, value in SMALLEST.items() if key != missing}
    with pytest.raises(RecipeError, match=f"^recipe: '{missing}' is missing; it has no default$"):
        recipe_from_dict(table)
    with pytest.raises(RecipeError, match=r"'encoder\.name' is missing"):
        recipe_from_dict({**SMALLEST, "encoder": {}})


def test_a_misspelt_recipe_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(RecipeError, match=r"no recipe 'shaps' \(did you mean 'shapes'\?\); known are .*pocket.*shapes"):
        read_recipe("shaps")
    with pytest.raises(RecipeError, match="no recipe ''; known are"):
        read_recipe("")
    with pytest.raises(RecipeError, match=r"gone\.toml: cannot be read .*give a recipe's name or a TOML file"):
        read_recipe(str(tmp_path / "gone.toml"))
    with pytest.raises(RecipeError, match=r"mine\.toml: not valid TOML"):
        read_recipe(_file(tmp_path, "name = "))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"bytes\.toml: cannot be read"):
        read_recipe(str(tmp_path / "bytes.toml"))


def test_every_choice_belongs_to_a_key_and_allows_its_default():
    for key, known in CHOICES.items():
        table, name = key.split(".")
        fields = {f.name: f for f in dataclasses.fields(TABLES[table])}
        assert fields[name].default in known


def test_every_choice_can_be_chosen():
    for key, known in CHOICES.items():
        table, name = key.split(".")
        for value in known:
            recipe = read_recipe("shapes", [f'{key}="{value}"'])
            assert getattr(getattr(recipe, table), name) == value


def test_the_tables_of_a_recipe_are_those_tested_here():
    assert {f.name for f in dataclasses.fields(Recipe)} == {"name", "summary", "paper", *TABLES}


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_no_text_as_a_setting_causes_anything_but_a_recipe_error(text):
    for setting in (text, f"training.{text}", f"decoder.cell={text}", f"training.epochs={text}"):
        try:
            recipe = read_recipe("shapes", [setting])
        except RecipeError:
            continue
        assert recipe_from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize("table", ["training", "decoding"])
def test_captions_longer_than_a_transformer_has_places_are_refused(table):
    with pytest.raises(RecipeError, match=rf"{table}\.max_words is 40, expected 39 at most: decoder\.max_words is 40"):
        read_recipe("transformer", [f"{table}.max_words=40"])
