import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from click.testing import CliRunner  # noqa: E402

from showtell.cli.recipes import command  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.example_batch import first_batch, made_up  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from tiny_training import TINY  # noqa: E402


@pytest.fixture(scope="module")
def batch():
    return made_up(read_recipe(str(TINY)), 50)


def test_every_tensor_from_pictures_to_words_is_there(batch):
    shapes = {(line.stage, line.name): line.shape for line in batch.lines}
    recipe = read_recipe(str(TINY))
    side = shapes["batch", "pictures"]
    assert side.startswith("(2, ")
    assert side.endswith(", 3)")
    assert shapes["step", "log_probs"].endswith(", 50)")
    assert shapes["start", "state.hidden"] == f"(2, 1, {recipe.decoder.hidden})"
    assert shapes["step", "words"].endswith(", 50)")  # the layer of this name


def test_parameters_add_up_to_the_decoders():
    from showtell.models import build_decoder
    from showtell.models.build_encoder import build_encoder

    recipe = read_recipe(str(TINY))
    rows = made_up(recipe, 50).parameters
    encoder = build_encoder(recipe.encoder)
    decoder = build_decoder(recipe, encoder, 50)
    assert sum(row.count for row in rows[1:]) == sum(p.numel() for p in decoder.parameters())
    assert rows[0].count == sum(p.numel() for p in encoder.parameters())


def test_show_attend_tell_has_the_tutorials_parameters():
    rows = {row.name: row.count for row in made_up(read_recipe("show-attend-tell"), 5000).parameters}
    assert sum(count for name, count in rows.items() if name.startswith("cell.")) == 1_575_936
    assert sum(list(rows.values())[1:]) == 6_602_889


def test_values_tell_a_caption_word_by_word(tmp_path):
    from showtell.data.shapes import make_shapes

    make_shapes(tmp_path / "shapes", train=6, val=2, test=2)
    batch = first_batch(read_recipe(str(TINY)), Request(data=tmp_path / "shapes"))
    assert batch.words[0].read == "<start>"
    assert batch.words[-1].told == "<end>"
    assert [word.told for word in batch.words[:-1]] == [word.read for word in batch.words[1:]]
    assert all(0 < word.probability < 1 for word in batch.words)


def test_the_command_prints_shapes_and_parameters():
    result = CliRunner().invoke(command, [str(TINY), "--shapes", "--words", "50"], standalone_mode=False)
    assert result.exit_code == 0
    assert "teacher forcing: all words at once" in result.output
    assert "in total" in result.output


def test_shapes_of_no_recipe_are_wrong_usage():
    result = CliRunner().invoke(command, ["--shapes"])
    assert result.exit_code == 2
    assert "name it" in result.output
