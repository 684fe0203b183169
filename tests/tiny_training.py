"""The smallest runs that still go the whole way: 32-pixel shapes, the first block of a small ResNet, a few steps."""

from pathlib import Path

from showtell.recipe_reader import read_recipe
from showtell.training.prepare import prepare
from showtell.training.request import Request

TINY = str(Path(__file__).with_name("tiny.toml"))
PIXELS = ()  # the encoder learns along, as the recipe says
FEATURES = ("encoder.train=false",)
# With these it learns enough, in about two seconds, that pictures get captions of their own.
LEARNING = ("training.learning_rate=1e-2", "training.epochs=12", "training.batch=8", "decoder.hidden=32")


def tiny_trainer(data, out, *settings, base=FEATURES, **arguments):
    """A trainer and the lines that it says; `arguments` are further ones of `prepare`."""
    said = []
    recipe = read_recipe(TINY, [*base, *settings])
    return prepare(Request(data=data), out, recipe=recipe, say=said.append, **arguments), said


def flags(settings):
    """Settings as arguments of the command line."""
    return [argument for setting in settings for argument in ("--set", setting)]
