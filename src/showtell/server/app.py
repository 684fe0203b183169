"""The web application: routes, and what stands before them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from showtell import __version__
from showtell.captioner import Captioner
from showtell.server import captions, chat, docs_page, health, max_api, page, tutorial
from showtell.server.admission import Admission
from showtell.server.dialects import answer_problem
from showtell.server.options import ServeOptions
from showtell.server.problems import Problem
from showtell.server.service import Service

_ABOUT = """Captions of pictures. Problems are answered as `application/problem+json`.

Where keys are set, send yours as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""


def create_app(options: ServeOptions, captioners: Mapping[str, Captioner]) -> FastAPI:
    """The application that serves these models by name, the first one by default. Raises `ServeError`.

    Whoever runs it with a server that knows no lifespan calls `app.state.service.close()` at the end.
    """
    service = Service(options, captioners)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        service.close()

    app = FastAPI(
        title="showtell",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # theirs loads scripts from another site
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat what Host says
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_middleware(Admission, service=service)
    for module in (captions, tutorial, max_api, chat, health, docs_page, page):
        app.include_router(module.router)
    return app


async def _answer_http(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such path, another method, a form that cannot be parsed."""
    assert isinstance(error, HTTPException)
    told = error.status_code in (400, 413)
    detail = error.detail if told else "no such path or method here; /docs tells what there is"
    return await answer_problem(request, Problem(error.status_code, detail, headers=error.headers))


async def _answer_validation(request: Request, error: Exception) -> Response:
    """Where parameters do not fit: which, and why; never their values, which may be a picture."""
    assert isinstance(error, RequestValidationError)
    told = [f"{'.'.join(map(str, one['loc']))[:100]}: {str(one['msg'])[:200]}" for one in error.errors()[:5]]
    return await answer_problem(request, Problem(422, "; ".join(told), reason="request"))
