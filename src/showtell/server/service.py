"""What all routes share: models by name, pictures in, captions out, addresses fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.requests import Request

from showtell.caption import Caption
from showtell.captioner import Captioner
from showtell.decoding.options import DecodeOptions
from showtell.errors import ImageError, RecipeError, ServeError
from showtell.server.engine import Engine
from showtell.server.fetching import Fetcher
from showtell.server.metrics import Metrics
from showtell.server.options import ServeOptions
from showtell.server.problems import Problem
from showtell.server.slots import Slots

if TYPE_CHECKING:
    from showtell.bundle import Manifest

FETCH_SECONDS = 10.0  # for a whole download
# What a client may name of DecodeOptions, and how much of it: no request may cost minutes.
LIMITS: Mapping[str, tuple[type, float, float]] = {
    "num_captions": (int, 1, 16),
    "beam_width": (int, 1, 16),
    "max_words": (int, 1, 60),
    "min_words": (int, 0, 60),
    "temperature": (float, 0.05, 5),  # and 0
    "top_p": (float, 0.001, 1),
    "top_k": (int, 0, 100_000),
    "seed": (int, 0, 2**63 - 1),
    "length_penalty": (float, -5, 5),
    "beam_groups": (int, 1, 16),
    "diversity": (float, 0, 100),
}
_SAMPLING = ("temperature", "top_p", "top_k")
_SEARCHING = ("beam_width", "beam_groups", "diversity")


@dataclass(frozen=True)
class Asked:
    """What one picture's request asks for.

    `options` are fields of `DecodeOptions` that the client named, each within `LIMITS`. To name `temperature`, `top_p`
    or `top_k` is to ask for sampling, as `sample` is, and then a `beam_width` is refused; a `temperature` of 0 asks for
    the likeliest words, and so for beam search.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    attention: bool = False
    model: str = ""  # name; "" is the first


class Service:
    """State of one server. Kept in `app.state.service`; a route gets it by `Depends(service_of)`."""

    def __init__(self, options: ServeOptions, captioners: Mapping[str, Captioner]) -> None:
        """Raises `ServeError` where there is no model, or one that takes regions from files and no pictures."""
        if not captioners:
            raise ServeError("no model to serve, expected one or more")
        for name, captioner in captioners.items():
            if captioner.images is None:
                raise ServeError(f"model {name} takes regions from files, expected one that takes pictures")
        self.options = options
        self.names = list(captioners)  # the default first
        self.metrics = Metrics()
        self.slots = Slots(options.queue, options.queue_bytes, self.metrics.queue.set)
        self.ready = True  # false while the last requests are answered before the end
        self.fetcher: Fetcher | None = None  # made on the event loop, when first needed
        self._captioners = dict(captioners)
        self._engine = Engine(captioners, options, self.metrics)

    def captioner(self, model: str = "") -> Captioner:
        """The model of that name, "" the first. Raises `Problem` (404)."""
        name = model or self.names[0]
        if name not in self._captioners:
            raise Problem(
                404, f"model {name[:100]!r} is not served here, known are {', '.join(self.names)}", reason="model"
            )
        return self._captioners[name]

    def manifest(self, model: str = "") -> "Manifest | None":
        """What the bundle tells about itself; None where the model is an ensemble. Raises `Problem` (404)."""
        return getattr(self.captioner(model).backend, "manifest", None)

    async def caption(self, picture: bytes, asked: Asked) -> list[Caption]:
        """The captions of one picture's file, best first.

        Raises `Problem`: 400 for a broken picture or an impossible option, 404 for a model that is not served, 503
        where the queue is full. When the awaiting task is cancelled, the picture leaves the queue.
        """
        options = decode_options(self.captioner(asked.model).decoding, asked.options)
        with self.slots.picture():
            try:
                return await self._engine.caption(
                    asked.model or self.names[0], picture, options, attention=asked.attention
                )
            except ImageError as error:
                raise Problem(400, str(error), title="No picture", reason="picture") from error

    async def fetch(self, address: str) -> bytes:
        """The file at an address.

        Raises `Problem`: 403 where fetching is off, 400 for an address that is not allowed, 413 for too much, 502 where
        the other server fails, 504 where it takes too long.
        """
        if not self.options.allow_url_fetch:
            raise Problem(
                403,
                "pictures are not fetched by address here: send the file, or start the server with --allow-url-fetch",
                title="Fetching is off",
                reason="fetch_off",
            )
        if self.fetcher is None:
            self.fetcher = Fetcher(max_bytes=self.options.max_body_bytes, seconds=FETCH_SECONDS)
        content = await self.fetcher.fetch(address)
        self.slots.hold(len(content))
        return content

    async def warm_up(self) -> None:
        """Caption a blank picture with each model: the first run of a graph takes longer than all others."""
        blank = BytesIO()
        Image.new("RGB", (32, 32)).save(blank, "PNG")
        for name in self.names:
            await self._engine.caption(name, blank.getvalue(), self.captioner(name).decoding, attention=False)

    def close(self) -> None:
        """End the threads."""
        self._engine.close()


def decode_options(defaults: DecodeOptions, named: Mapping[str, Any]) -> DecodeOptions:
    """A model's own options, changed by those that a client named. Raises `Problem` (400)."""
    changes = {name: _checked(name, value) for name, value in named.items()}
    if changes.get("temperature") == 0:  # the likeliest words
        if changes.get("sample"):
            raise _impossible("temperature is 0, which draws nothing: leave out sample, or name a temperature above 0")
        drawing: list[str] = []
        changes = {name: value for name, value in changes.items() if name not in _SAMPLING} | {"sample": False}
    else:
        drawing = [name for name in _SAMPLING if name in changes]
    searching = [name for name in _SEARCHING if name in changes]
    sample = changes.setdefault("sample", bool(drawing) or (defaults.sample and not searching))
    if drawing and not sample:
        raise _impossible(f"{drawing[0]} is for sampling: leave out sample, or set it to true")
    if searching and sample:
        raise _impossible(f"{searching[0]} is for beam search: leave out either it, or temperature, top_p and top_k")
    try:
        return defaults.changed(**changes)
    except RecipeError as error:
        raise _impossible(str(error).replace("decoding.", "")) from error


def _checked(name: str, value: Any) -> Any:
    if name == "sample":
        if not isinstance(value, bool):
            raise _impossible(f"sample is {_told(value)}, expected true or false")
        return value
    if name not in LIMITS:
        raise _impossible(f"unknown option {_told(name)}; known are {', '.join((*LIMITS, 'sample'))}")
    kind, lowest, highest = LIMITS[name]
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if fits and (lowest <= value <= highest or (value == 0 and name == "temperature")):
        return kind(value)
    what = "a whole number" if kind is int else "0, or a number" if name == "temperature" else "a number"
    raise _impossible(f"{name} is {_told(value)}, expected {what} from {lowest} to {highest}")


def _told(value: Any) -> str:
    """A stranger's value in a message: short, and on one line."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."


def _impossible(detail: str) -> Problem:
    return Problem(400, detail, title="Impossible option", reason="option")


async def service_of(request: Request) -> Service:
    """The service of the app that answers this request."""
    service: Service = request.app.state.service
    return service
