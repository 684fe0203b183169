"""Errors as other APIs tell them, so that their clients raise their own exceptions and show their own messages."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from showtell.server.problems import Problem, problem_response

Answer = Callable[[Problem], Response]

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SHOWN = 3  # faults of one request


class BadParameter(Problem):
    """A request that cannot be served for what it says in `param`, such as "messages"; empty where that is unclear."""

    def __init__(self, param: str, detail: str, *, reason: str = "option") -> None:
        super().__init__(400, f"{param}: {detail}" if param else detail, reason=reason)
        self.param = param or None


def openai_error(problem: Problem) -> Response:
    """As OpenAI's API tells it: `{"error": {"message", "type", "param", "code"}}`."""
    kind = "server_error" if problem.status >= 500 else _OPENAI_TYPES.get(problem.status, "invalid_request_error")
    param = problem.param if isinstance(problem, BadParameter) else None
    error = {"message": problem.detail, "type": kind, "param": param, "code": problem.reason}
    if problem.reason == "model":
        error |= {"param": "model", "code": "model_not_found"}
    return JSONResponse({"error": error}, problem.status, headers=problem.headers)


def max_error(problem: Problem) -> Response:
    """As IBM's MAX models tell it: `{"status": "error", "message"}`."""
    return JSONResponse({"status": "error", "message": problem.detail}, problem.status, headers=problem.headers)


# Beginning of a path -> how its errors are told.
DIALECTS: dict[str, Answer] = {"/v1/chat/": openai_error, "/v1/models": openai_error, "/model/": max_error}


def answer_in_dialect(path: str, problem: Problem) -> Response:
    """The whole answer to a request for `path`, also where the request never got as far as its route."""
    for beginning, answer in DIALECTS.items():
        if path.startswith(beginning):
            return answer(problem)
    return problem_response(problem)


async def answer_problem(request: Request, problem: Exception) -> Response:
    """Starlette's handler of `Problem`."""
    assert isinstance(problem, Problem)
    request.scope.setdefault("state", {})["reason"] = problem.reason
    return answer_in_dialect(request.scope["path"], problem)


class DialectRoute(APIRoute):
    """A route that tells every error in the dialect of its path."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with what it raises turned into an answer."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as error:
                problem = error
            except RequestValidationError as error:
                problem = _invalid(error)
            except HTTPException as error:  # a body that is no JSON, or no form
                problem = Problem(error.status_code, str(error.detail), reason="body")
            request.scope.setdefault("state", {})["reason"] = problem.reason
            return answer_in_dialect(request.url.path, problem)

        return answer


def _invalid(error: RequestValidationError) -> Problem:
    """What does not fit, and where: never the value itself, which may be a whole picture."""
    found = error.errors()[:_SHOWN]
    if found[0]["type"] == "json_invalid":
        return Problem(400, "the body is no JSON, though its Content-Type says so", reason="body")
    faults = [(_place(fault), _message(fault)) for fault in found]
    rest = [f"{place}: {message}" for place, message in faults[1:]]
    place, message = faults[0]
    if not place:
        return Problem(400, "the body is not what is expected; see /docs, and tell its Content-Type", reason="body")
    problem = BadParameter(place, "; ".join([message, *rest]), reason="body")
    problem.param = place.split(".")[0] or None
    return problem


def _message(fault: Mapping[str, Any]) -> str:
    message = str(fault["msg"])
    return "came as text, expected a file: with curl that is FIELD=@photo.jpg" if "UploadFile" in message else message


def _place(fault: Mapping[str, Any]) -> str:
    """Such as "messages.0.content"; the first part tells only that it is the body."""
    return ".".join(str(part)[:40] for part in fault["loc"][1:])
