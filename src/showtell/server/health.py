"""Whether the server lives, whether it takes requests, and what it has counted."""

from typing import Annotated

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from showtell.server.problems import Problem
from showtell.server.service import Service, service_of

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="Whether the server lives")
async def healthz() -> JSONResponse:
    """200 as long as the process answers at all."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Whether requests should be sent here",
    responses={503: {"description": "The models are loading, or the last requests are answered before the end."}},
)
async def readyz(service: Annotated[Service, Depends(service_of)]) -> JSONResponse:
    """200 once every model is loaded and warm, until the server is told to end."""
    if not service.ready:
        raise Problem(503, "the server is starting or ending", title="Not ready", reason="not_ready")
    return JSONResponse({"status": "ready", "models": service.names})


@router.get(
    "/metrics",
    summary="Counts for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
async def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Requests, failures by reason, pictures in work, pictures of a batch, seconds of each stage."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
