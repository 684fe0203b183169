"""The API of IBM's MAX Image Caption Generator: its paths, its requests, the shapes of its answers."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, UploadFile

from showtell import __version__
from showtell.server.dialects import DialectRoute
from showtell.server.service import Asked, Service, service_of

CAPTIONS = 3  # as many as MAX gives

_PREDICTED = {
    "status": "ok",
    "predictions": [
        {"index": "0", "caption": "a man riding a wave on a surfboard", "probability": 0.0388},
        {"index": "1", "caption": "a man on a surfboard in the ocean", "probability": 0.0179},
    ],
}
_METADATA = {
    "id": "pocket",
    "name": "pocket",
    "description": "showtell 1.0, model pocket",
    "type": "Image-to-Text Translation",
    "source": "showtell",
    "license": "Apache-2.0",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    key: {
        "description": "An error",
        "content": {"application/json": {"example": {"status": "error", "message": "what is wrong"}}},
    }
    for key in ("4XX", "5XX")
}

router = APIRouter(prefix="/model", tags=["other APIs"], route_class=DialectRoute, responses=_ERRORS)


@router.post(
    "/predict",
    summary="Caption a picture, for clients of IBM's MAX Image Caption Generator",
    responses={200: {"content": {"application/json": {"example": _PREDICTED}}}},
)
async def predict(
    service: Annotated[Service, Depends(service_of)],
    image: Annotated[UploadFile, File(description="The picture's file; its content decides the format")],
) -> dict[str, Any]:
    """The default model's three captions, best first, each with the probability of the whole sentence."""
    captions = await service.caption(await image.read(), Asked({"num_captions": CAPTIONS}))
    return {
        "status": "ok",
        "predictions": [
            {"index": str(index), "caption": caption.text, "probability": math.exp(caption.log_probability)}
            for index, caption in enumerate(captions)
        ],
    }


@router.get(
    "/metadata",
    summary="The default model, for clients of IBM's MAX models",
    responses={200: {"content": {"application/json": {"example": _METADATA}}}},
)
async def metadata(service: Annotated[Service, Depends(service_of)]) -> dict[str, str]:
    """The default model in the words of MAX."""
    manifest, name = service.manifest(), service.names[0]
    return {
        "id": name,
        "name": manifest.name if manifest else name,
        "description": f"showtell {__version__}, model {name}",
        "type": "Image-to-Text Translation",
        "source": "showtell",
        "license": manifest.licence if manifest else "",
    }
