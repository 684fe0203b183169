"""The service that the tutorials end with: a picture's address in, one caption out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from showtell.server.captions_schema import problems
from showtell.server.service import Asked, Service, service_of

KEY = "Prediction Caption:"  # the colon is the tutorials' own

router = APIRouter(tags=["other APIs"])


@router.get(
    "/wowme",
    summary="Caption a picture by its address, for clients of the tutorials",
    responses={
        200: {"content": {"application/json": {"example": {KEY: "a cat on a sofa"}}}},
        **problems(400, 401, 403, 413, 421, 422, 429, 502, 503, 504),
    },
)
async def wowme(
    service: Annotated[Service, Depends(service_of)],
    image: Annotated[
        str, Query(description="http(s) address of a picture", max_length=4096, examples=["https://example.org/a.jpg"])
    ],
) -> dict[str, str]:
    """Answers `{"Prediction Caption:": "..."}`. Works only where the server may fetch: `--allow-url-fetch`."""
    captions = await service.caption(await service.fetch(image), Asked())
    return {KEY: captions[0].text}
