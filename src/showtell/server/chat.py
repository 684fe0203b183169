"""OpenAI's chat completions, as far as a captioner can speak them: pictures in messages in, captions as replies out.

The text of messages is not understood: the reply tells what the pictures of the latest message with pictures show.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from showtell import __version__
from showtell.caption import Caption
from showtell.server.chat_request import ChatRequest, pictures_of
from showtell.server.dialects import BadParameter, DialectRoute
from showtell.server.problems import Problem
from showtell.server.service import Asked, Service, service_of
from showtell.tokenizers import join_words

_FINGERPRINT = f"showtell-{__version__}"
_ERROR = {"message": "what is wrong", "type": "invalid_request_error", "param": "messages", "code": "picture"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    key: {"description": "An error", "content": {"application/json": {"example": {"error": _ERROR}}}}
    for key in ("4XX", "5XX")
}
_COMPLETION = {
    "id": "chatcmpl-5f3a9c2e71d04b68",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "pocket",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a cat on a sofa", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 49, "completion_tokens": 6, "total_tokens": 55},
    "system_fingerprint": _FINGERPRINT,
}

router = APIRouter(prefix="/v1", tags=["other APIs"], route_class=DialectRoute, responses=_ERRORS)


@router.post(
    "/chat/completions",
    summary="Caption the pictures of a chat, for clients of OpenAI's API",
    response_class=JSONResponse,
    responses={
        200: {
            "content": {
                "application/json": {"example": _COMPLETION},
                "text/event-stream": {"schema": {"type": "string"}},
            }
        }
    },
)
async def complete(service: Annotated[Service, Depends(service_of)], ask: ChatRequest) -> Response:
    """The pictures of the latest message that has any; text beside them is not understood.

    `n` is the number of captions, `max_tokens` the number of words. `temperature` above 0 or `top_p` below 1 draw
    words at random, from `seed` if it is given; without them the best captions are searched.
    """
    captioner = service.captioner(ask.model)
    sources = await asyncio.to_thread(pictures_of, ask.messages, most=service.options.max_pictures)
    longest = captioner.decoding.max_words
    asked = Asked(_options(ask, longest), model=ask.model)
    captions = await _in_parallel(service, sources, asked)
    reply = _Reply(ask, service, captions, longest)
    if not ask.stream:
        return JSONResponse(reply.whole())
    # The words come all at once, when the search has ended; until then an error still has a status to be told with.
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in reply.chunks()]
    return Response("".join([*events, "data: [DONE]\n\n"]), media_type="text/event-stream")


@router.get("/models", summary="The models by name, the default first, for clients of OpenAI's API")
async def models(service: Annotated[Service, Depends(service_of)]) -> dict[str, Any]:
    """All that are served."""
    return {"object": "list", "data": [_model(name) for name in service.names]}


@router.get("/models/{name:path}", summary="One model, for clients of OpenAI's API")
async def model(service: Annotated[Service, Depends(service_of)], name: str) -> dict[str, Any]:
    """The model of that name."""
    service.captioner(name)
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "showtell"}  # no bundle tells when it was made


def _options(ask: ChatRequest, longest: int) -> dict[str, Any]:
    """What was asked for, as fields of `DecodeOptions`."""
    options: dict[str, Any] = {}
    if ask.n:
        options["num_captions"] = ask.n
    if most := ask.max_completion_tokens or ask.max_tokens:
        options["max_words"] = min(most, longest)  # a limit of tokens asks for no longer captions
    drawn = (ask.temperature is None or ask.temperature > 0) and ask.top_p != 0
    if drawn and (ask.temperature is not None or ask.top_p not in (None, 1)):
        options["sample"] = True
        options["temperature"] = max(1.0 if ask.temperature is None else ask.temperature, 0.05)
        options["top_p"] = max(1.0 if ask.top_p is None else ask.top_p, 0.001)
        # Callers who name no seed expect replies that differ; seeds below 0 are allowed there.
        options["seed"] = secrets.randbits(63) if ask.seed is None else ask.seed % 2**63
    elif not drawn:
        options["sample"] = False
    return options


async def _in_parallel(service: Service, sources: Sequence[bytes | str], asked: Asked) -> list[list[Caption]]:
    """The captions of each picture; the first that fails ends the others."""
    most = left = service.options.max_body_bytes  # of what is fetched for one request, as of what is sent in one

    async def describe(source: bytes | str) -> list[Caption]:
        nonlocal left
        if isinstance(source, str):
            source = await service.fetch(source)
            left -= len(source)
            if left < 0:
                raise Problem(413, f"the pictures have more than the {most} bytes allowed together; ask for fewer")
        return await service.caption(source, asked)

    tasks = [asyncio.create_task(describe(source)) for source in sources]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _Reply:
    """What is answered: as many choices as captions were found, each telling all pictures, a line for each."""

    def __init__(self, ask: ChatRequest, service: Service, captions: list[list[Caption]], longest: int) -> None:
        self._ask = ask
        self._choices = list(zip(*captions, strict=False))  # of beam search some pictures can have fewer
        if not self._choices:
            raise BadParameter("max_tokens", "no caption is that short", reason="option")
        self._longest = min(ask.max_completion_tokens or ask.max_tokens or longest, longest)
        manifest = service.manifest(ask.model)
        self._regions = manifest.regions.count * len(captions) if manifest else 0
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": ask.model or service.names[0],
            "system_fingerprint": _FINGERPRINT,
        }

    def whole(self) -> dict[str, Any]:
        """A `chat.completion`."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(t for t, _ in pieces), "refusal": None},
                "logprobs": self._logprobs(pieces),
                "finish_reason": self._end(index),
            }
            for index, pieces in enumerate(map(_pieces, self._choices))
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The same as `chat.completion.chunk`s, a word each."""
        for index, choice in enumerate(self._choices):
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
            for piece in _pieces(choice):
                yield self._chunk(index, {"content": piece[0]}, self._logprobs([piece]))
            yield self._chunk(index, {}, end=self._end(index))
        if self._wants_usage:
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    @property
    def _wants_usage(self) -> bool:
        return self._ask.stream_options is not None and bool(self._ask.stream_options.include_usage)

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: Any = None, end: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end}
        usage = {"usage": None} if self._wants_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _logprobs(self, pieces: list[tuple[str, float]]) -> dict[str, Any] | None:
        if not self._ask.logprobs:
            return None
        content = [
            {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}
            for text, logprob in pieces
        ]
        return {"content": content, "refusal": None}

    def _end(self, index: int) -> str:
        """Search ends a sentence that has as many words as are allowed, whether it is whole or not."""
        return "length" if any(len(caption.tokens) >= self._longest for caption in self._choices[index]) else "stop"

    def _usage(self) -> dict[str, int]:
        """Regions of the pictures that were looked at, and words with the ends of sentences."""
        words = sum(len(caption.tokens) + 1 for choice in self._choices for caption in choice)
        return {
            "prompt_tokens": self._regions,
            "completion_tokens": words,
            "total_tokens": self._regions + words,
        }


def _pieces(captions: Sequence[Caption]) -> list[tuple[str, float]]:
    """The captions of several pictures, a line each, in pieces of one word with its log-probability."""
    pieces: list[tuple[str, float]] = []
    for number, caption in enumerate(captions):
        # Each word brings the blank before it, if it has one.
        texts = [join_words(words) for words in accumulate(((word,) for word in caption.tokens), initial=())]
        line = [after.removeprefix(before) for before, after in pairwise(texts)]
        if number:
            line[:1] = ["\n" + (line[0] if line else "")]
        logprobs = caption.word_log_probabilities or (0.0,) * len(line)
        pieces += zip(line, logprobs, strict=False)
    return pieces
