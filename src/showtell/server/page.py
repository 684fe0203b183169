"""The page at `/`: plain files of this package, and what the page must know of the server. Nothing from elsewhere."""

import hashlib
import posixpath
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from showtell import __version__
from showtell.server.service import Service, service_of

# The page's own scripts and style only; pictures are those that the browser itself holds. No script may write HTML.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
# Beside those of every answer, see admission.py.
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), clipboard-write=(self), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # kept, but asked after: an update of the server must not meet older scripts
}

# Name under /page/ -> its file in the package. What the page of an evaluation has too is the same file.
FILES = {
    **{
        name: ("showtell.server", f"page/{name}")
        for name in (
            "page.css",
            "icon.svg",
            "page.js",
            "ask.js",
            "camera.js",
            "card.js",
            "export.js",
            "intake.js",
            "sliders.js",
        )
    },
    **{name: ("showtell.pages", name) for name in ("base.css", "heat.js", "words.js")},
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, "showtell.server", "page/index.html")


@router.get("/page/{name}")
async def file(request: Request, name: str) -> Response:
    """A file of the page: one of a table, so that no name leads anywhere else."""
    if name not in FILES:
        return Response(status_code=404)
    return _answer(request, *FILES[name])


@router.get("/v1/page")
async def settings(service: Annotated[Service, Depends(service_of)]) -> JSONResponse:
    """What the page must know: the models with their own decoding, and how much may be sent."""
    return JSONResponse(
        {
            "version": __version__,
            "max_bytes": service.options.max_body_bytes,
            "models": [{"name": name, **_about(service, name)} for name in service.names],
        }
    )


def _about(service: Service, name: str) -> dict[str, Any]:
    """A model's own decoding, and how the encoder cuts pictures: a map of attention lies over what it saw."""
    captioner = service.captioner(name)
    decoding, images = captioner.decoding, captioner.images
    told: dict[str, Any] = {"beam_width": decoding.beam_width, "num_captions": decoding.num_captions}
    if decoding.sample:
        told["temperature"] = decoding.temperature
    if images:
        told |= {"fit": images.fit, "crop_fraction": images.crop_fraction}
    return told


@cache
def _content(package: str, path: str) -> tuple[bytes, str]:
    """A file of the page and its entity tag."""
    content = files(package).joinpath(path).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _answer(request: Request, package: str, path: str) -> Response:
    content, tag = _content(package, path)
    headers = HEADERS | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers | {"Content-Type": _TYPES[posixpath.splitext(path)[1]]})
