"""What OpenAPI tells of POST /v1/captions."""

from typing import Any

from showtell.server.problems import MEDIA_TYPE
from showtell.server.service import LIMITS

_SAYS = {
    "num_captions": "captions of each picture, best first",
    "beam_width": "hypotheses kept by beam search; 1 takes the likeliest word each time",
    "max_words": "longest caption, in words",
    "min_words": "shortest caption, in words",
    "temperature": "draws words at random: below 1 safer, above 1 wilder; 0 draws none",
    "top_p": "draws among the likeliest words that hold this share of the probability",
    "top_k": "draws among this many likeliest words; 0 is all",
    "seed": "of the draw: same seed, same picture, same captions",
    "length_penalty": "captions are ranked by log-probability / words ** length_penalty",
    "beam_groups": "diverse beam search: so many groups of hypotheses, which keep apart",
    "diversity": "what a word costs a group where another says it",
}


def _options() -> dict[str, Any]:
    described: dict[str, Any] = {}
    for name, (kind, lowest, highest) in LIMITS.items():
        type_ = "integer" if kind is int else "number"
        lowest = 0 if name == "temperature" else lowest
        described[name] = {"type": type_, "minimum": lowest, "maximum": highest, "description": _SAYS[name]}
    return described | {
        "sample": {"type": "boolean", "description": "draw words at random instead of searching"},
        "attention": {"type": "boolean", "default": False, "description": "tell where each word looked"},
        "model": {"type": "string", "description": "name of one of the models served; the first if left out"},
    }


def _one_or_more(of: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [of, {"type": "array", "items": of, "minItems": 1, "maxItems": 16}]}


_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
_TEXT = {"type": "string", "minLength": 1}

_JSON = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": _one_or_more(_TEXT | {"description": "a picture's file in base64, or a data address that holds it"}),
        "url": _one_or_more(_TEXT | {"description": "http or https address, where the server fetches by address"}),
        **_options(),
    },
    "anyOf": [{"required": ["image"]}, {"required": ["url"]}],
}
_FORM = {
    "type": "object",
    "properties": {"image": _one_or_more({"type": "string", "format": "binary"}), **_options()},
}

CAPTIONS_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {
                "schema": _JSON,
                "examples": {
                    "base64": {"summary": "a red pixel", "value": {"image": _PIXEL, "num_captions": 3}},
                    "address": {"summary": "by address", "value": {"url": "https://example.org/dog.jpg"}},
                },
            },
        },
    }
}

_WORD = {
    "type": "object",
    "required": ["word"],
    "properties": {
        "word": {"type": "string"},
        "log_probability": {"type": "number", "description": "natural logarithm"},
        "probability": {"type": "number"},
        "attention": {"type": "array", "items": {}, "description": "rows of columns, over what the encoder saw"},
    },
}
_CAPTION = {
    "type": "object",
    "required": ["caption", "log_probability", "probability", "score", "words"],
    "properties": {
        "caption": {"type": "string"},
        "log_probability": {"type": "number", "description": "of the whole sentence with its end"},
        "probability": {"type": "number"},
        "score": {"type": "number", "description": "what captions of one picture are ranked by"},
        "words": {"type": "array", "items": _WORD},
    },
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}
_ANSWER = {
    "type": "object",
    "required": ["model", "results"],
    "properties": {
        "model": {"type": "string"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": ["string", "null"], "description": "the file's name or the address, as sent"},
                    "captions": {"type": "array", "items": _CAPTION},
                    "problem": PROBLEM,
                },
            },
        },
    },
}
_EXAMPLE = {
    "model": "pocket",
    "results": [
        {
            "name": "dog.jpg",
            "captions": [
                {
                    "caption": "a dog",
                    "log_probability": -1.2,
                    "probability": 0.301,
                    "score": -0.64,
                    "words": [
                        {"word": "a", "log_probability": -0.1, "probability": 0.905},
                        {"word": "dog", "log_probability": -0.9, "probability": 0.407},
                    ],
                }
            ],
        }
    ],
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI tells of answers that are problems."""
    content = {MEDIA_TYPE: {"schema": PROBLEM}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


_PROBLEMS = {
    400: "A broken picture, an impossible option, or a request that cannot be read.",
    401: "No valid key.",
    403: "Fetching by address is off, or a page of another site asks.",
    404: "No such model.",
    408: "The body came too slowly.",
    413: "Too many bytes or pictures.",
    415: "Neither a form nor JSON.",
    421: "The name in Host is not served.",
    422: "Parameters are missing or of another type.",
    429: "Too many requests a minute; Retry-After tells the seconds.",
    502: "The other server, from which a picture was to be fetched, fails.",
    503: "Too busy; Retry-After tells the seconds.",
    504: "No answer in time.",
}

CAPTIONS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A result for each picture, in order.",
        "content": {"application/json": {"schema": _ANSWER, "example": _EXAMPLE}},
    },
    **problems(400, 401, 403, 404, 408, 413, 415, 421, 429, 502, 503, 504),
}
