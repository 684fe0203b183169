"""The smallest runs that still go the whole way: 32-pixel shapes, the first block of a small ResNet, a few steps."""

from showtell.recipe import read_recipe
from showtell.training.prepare import Request, prepare

PIXELS = (
    "encoder.size=32",
    "encoder.layer=layer1",
    "decoder.places=true",
    "decoder.hidden=16",
    "decoder.projection=16",
    "decoder.embedding=16",
    "decoder.attention=8",
    "training.epochs=2",
    "training.batch=16",
    "training.workers=0",
    "training.warmup_epochs=0",
)
FEATURES = (*PIXELS, "encoder.train=false")
# With these it learns enough, in about two seconds, that pictures get captions of their own.
LEARNING = ("training.learning_rate=1e-2", "training.epochs=12", "training.batch=8", "decoder.hidden=32")


def tiny_trainer(data, out, *settings, base=FEATURES, **arguments):
    """A trainer and the lines that it says; `arguments` are further ones of `prepare` or of `Request`."""
    said = []
    request = Request(data=data, **{k: arguments.pop(k) for k in ("features", "splits") if k in arguments})
    recipe = arguments.pop("recipe", None) or read_recipe("shapes", [*base, *settings])
    return prepare(request, out, recipe=recipe, say=said.append, **arguments), said


def flags(settings):
    """Settings as arguments of the command line."""
    return [argument for setting in settings for argument in ("--set", setting)]
