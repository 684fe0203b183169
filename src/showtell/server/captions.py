"""POST /v1/captions: pictures as files, base64 or addresses -> captions with words, probabilities and attention."""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from showtell.caption import Caption
from showtell.server.captions_schema import CAPTIONS_OPENAPI, CAPTIONS_RESPONSES
from showtell.server.data_address import base64_of, decode
from showtell.server.problems import Problem
from showtell.server.service import LIMITS, Asked, Service, service_of

router = APIRouter(tags=["captions"])

ASIDE = 200_000  # bytes from which parsing leaves the event loop
_WHOLE = ("fetch_off", "queue_full")  # problems of fetching that are no picture's own
_FIELDS = 32  # of a form, besides its files
_FIELD_BYTES = 10 * 1024  # of one that is no file


@dataclass(frozen=True)
class _Picture:
    """One of a request's pictures: its bytes, or the address where they are."""

    name: str | None
    content: bytes = b""
    url: str = ""


@router.post(
    "/v1/captions",
    summary="Describe pictures",
    response_class=Response,
    openapi_extra=CAPTIONS_OPENAPI,
    responses=CAPTIONS_RESPONSES,
)
async def captions(request: Request, service: Annotated[Service, Depends(service_of)]) -> Response:
    """Send one or more files as `multipart/form-data`, or `application/json` with `image` (base64) or `url`.

    Of several pictures each gets a result in its place, a caption or a problem; of one its problem is the answer.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        limits = {"max_files": service.options.max_pictures, "max_fields": _FIELDS, "max_part_size": _FIELD_BYTES}
        async with request.form(**limits) as form:
            pictures, asked = await _from_form(form)
    elif kind == "application/json":
        body = await request.body()
        pictures, asked = await (asyncio.to_thread(_from_json, body) if len(body) > ASIDE else _at_once(body))
    else:
        raise Problem(
            415, "expected multipart/form-data with files, or application/json with image or url", reason="media_type"
        )
    if not pictures:
        raise Problem(400, "no picture came: send a file, or image or url in JSON", reason="no_picture")
    if len(pictures) > service.options.max_pictures:
        limit = service.options.max_pictures
        raise Problem(413, f"{len(pictures)} pictures, more than the {limit} allowed; send several requests")
    name = asked.model or service.names[0]
    results = await _all(service, pictures, asked)
    body = await asyncio.to_thread(_encode, name, results) if asked.attention else _encode(name, results)
    return Response(body, media_type="application/json")


async def _all(service: Service, pictures: list[_Picture], asked: Asked) -> list[dict[str, Any]]:
    """A result for each picture. Raises `Problem` where it is not one picture's own, or there is only one."""
    tasks = [asyncio.create_task(_one(service, picture, asked)) for picture in pictures]
    try:
        outcomes = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    if len(outcomes) == 1 and isinstance(outcomes[0], Problem):
        raise outcomes[0]
    results: list[dict[str, Any]] = []
    for picture, outcome in zip(pictures, outcomes, strict=True):
        if isinstance(outcome, Problem):
            told = {"title": outcome.title, "status": outcome.status, "detail": outcome.detail}
            results.append({"name": picture.name, "problem": told})
        else:
            results.append({"name": picture.name, "captions": outcome})
    return results


async def _one(service: Service, picture: _Picture, asked: Asked) -> list[Caption] | Problem:
    """Captions, or a problem that is this picture's own. Raises any other."""
    content = picture.content
    try:
        if picture.url:
            content = await service.fetch(picture.url)
        return await service.caption(content, asked)
    except Problem as problem:
        if problem.reason == "picture" or (picture.url and not content and problem.reason not in _WHOLE):
            return problem
        raise


async def _from_form(form: FormData) -> tuple[list[_Picture], Asked]:
    pictures: list[_Picture] = []
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            pictures.append(_Picture(value.filename, await value.read()))
        elif name == "image":
            raise _bad("image came as text, expected a file: with curl that is image=@photo.jpg")
        elif name == "url":
            pictures.append(_Picture(value, url=value))
        elif name in values:
            raise _bad(f"{name[:40]!r} came twice, expected it once")
        else:
            values[name] = _value(name, value)
    return pictures, _asked(values)


def _value(name: str, text: str) -> Any:
    """A form's text as the type that the option has; what does not fit is left for `decode_options` to refuse."""
    if name in ("attention", "sample"):
        return {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}.get(text.lower(), text)
    if name not in LIMITS:
        return text
    try:
        number = float(text)
        return int(text) if LIMITS[name][0] is int else number
    except ValueError:
        return text


async def _at_once(body: bytes) -> tuple[list[_Picture], Asked]:
    return _from_json(body)


def _from_json(body: bytes) -> tuple[list[_Picture], Asked]:
    try:
        table = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is no JSON, though its Content-Type says so") from error
    if not isinstance(table, dict):
        raise _bad("expected a JSON object with image or url")
    pictures = [_Picture(None, _decoded(text)) for text in _texts(table, "image")]
    pictures += [_Picture(text, url=text) for text in _texts(table, "url")]
    return pictures, _asked(table)


def _texts(table: dict[str, Any], key: str) -> list[str]:
    value = table.pop(key, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise _bad(f"{key} is expected as text that is not empty, or as a list of such")
    return texts


def _decoded(text: str) -> bytes:
    """Base64, or a data address that holds it."""
    data = base64_of(text) if text[:5].lower() == "data:" else text
    if data is None:
        raise _bad("image is a data address without base64: expected data:image/...;base64,...")
    try:
        return decode(data)
    except ValueError as error:
        raise _bad("image is no base64; encode the whole file") from error


def _asked(values: Mapping[str, Any]) -> Asked:
    options = dict(values)
    attention, model = options.pop("attention", False), options.pop("model", "")
    if not isinstance(attention, bool):
        raise _bad("attention is expected as true or false")
    if not isinstance(model, str):
        raise _bad("model is expected as a name")
    return Asked(options, attention, model)


def _bad(detail: str) -> Problem:
    return Problem(400, detail, reason="request")


def _encode(model: str, results: list[dict[str, Any]]) -> bytes:
    told = [
        result | {"captions": [_caption(caption) for caption in result["captions"]]} if "captions" in result else result
        for result in results
    ]
    return json.dumps({"model": model, "results": told}, ensure_ascii=False, allow_nan=False).encode()


def _caption(caption: Caption) -> dict[str, Any]:
    words: list[dict[str, Any]] = [{"word": word} for word in caption.tokens]
    for word, log_probability in zip(words, caption.word_log_probabilities, strict=False):  # the end's own comes last
        word |= {"log_probability": _finite(log_probability), "probability": math.exp(log_probability)}
    if caption.attention is not None:
        for word, rows in zip(words, caption.attention.round(5).tolist(), strict=True):
            word["attention"] = rows
    return {
        "caption": caption.text,
        "log_probability": _finite(caption.log_probability),
        "probability": math.exp(caption.log_probability),
        "score": _finite(caption.score),
        "words": words,
    }


def _finite(value: float) -> float:
    """JSON knows no infinity: what a model holds for impossible gets a number beyond all others."""
    return max(value, -1e9)
