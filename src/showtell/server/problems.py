"""What went wrong, as the client gets it: `application/problem+json` (RFC 9457), never with a path of this machine."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that gets no caption. `detail` is one line for the client: what was found, what to do."""

    def __init__(
        self, status: int, detail: str, *, title: str = "", headers: Mapping[str, str] | None = None, reason: str = ""
    ) -> None:
        """`title` is by default HTTP's own; `reason` one short word under which `/metrics` counts it."""
        super().__init__(detail)
        self.status = status
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.headers = dict(headers or {})
        self.reason = reason or HTTPStatus(status).name.lower()

    def body(self) -> bytes:
        """The JSON that tells it."""
        return json.dumps({"title": self.title, "status": self.status, "detail": self.detail}).encode()


def problem_response(problem: Problem) -> Response:
    """The whole answer."""
    return Response(problem.body(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
