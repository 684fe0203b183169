"""What a client of OpenAI's chat completions sends, and the pictures in it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from showtell.server.data_address import base64_of, decode
from showtell.server.dialects import BadParameter

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"  # one red pixel

# Numbers that JSON has no words for (NaN, Infinity) are read by Python's parser; here they are refused.
Number = Annotated[float, Field(allow_inf_nan=False)]


class ImageUrl(BaseModel):
    """Where a picture is: `data:image/...;base64,...`, or an http(s) address. `detail` changes nothing."""

    url: str


class Part(BaseModel):
    """A part of a message: text, which is not understood, or a picture."""

    type: str = Field(max_length=100)
    image_url: ImageUrl | str | None = None


class Message(BaseModel):
    """One message of the chat."""

    role: str = Field(max_length=100)
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """What a stream holds beside the reply."""

    include_usage: bool | None = None


class ResponseFormat(BaseModel):
    """Only plain text can be given."""

    type: str = Field(max_length=100)


class ChatRequest(BaseModel):
    """Fields that have no meaning for a captioner, such as `tools`, `stop` or `frequency_penalty`, are ignored."""

    model: str = Field("", max_length=200, description="Name of a model; empty is the default one")
    messages: list[Message] = Field(min_length=1, max_length=1000)
    n: int | None = Field(None, ge=1, le=16, description="Captions")
    max_tokens: int | None = Field(None, ge=1, le=1_000_000, description="Words of a caption, at most")
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000, description="The same")
    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    logprobs: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "",
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is in this picture?"},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_DOT}"}},
                        ],
                    }
                ],
            }
        }
    )

    def model_post_init(self, _: Any) -> None:
        """Refuses what would be answered wrongly."""
        if self.response_format and self.response_format.type != "text":
            raise BadParameter("response_format", "captions are plain text; leave it out, or ask for type text")


def pictures_of(messages: Sequence[Message], *, most: int) -> list[bytes | str]:
    """The pictures of the latest message that has any: the bytes of a data address, or an http(s) address.

    Raises `BadParameter` where there is none, more than `most`, or an address of another kind. Takes up to tenths of a
    second, and so belongs in a thread.
    """
    for message in reversed(messages):
        parts = message.content if isinstance(message.content, list) else []
        if addresses := [_address(part) for part in parts if part.type == "image_url"]:
            if len(addresses) > most:
                raise BadParameter("messages", f"{len(addresses)} pictures in a message, more than the {most} allowed")
            return [_picture(address) for address in addresses]
    raise BadParameter(
        "messages", "no picture; add a part of type image_url to a message, this model answers pictures only"
    )


def _address(part: Part) -> str:
    if part.image_url is None:
        raise BadParameter("messages", "a part of type image_url without image_url; add its url")
    return part.image_url if isinstance(part.image_url, str) else part.image_url.url


def _picture(address: str) -> bytes | str:
    if _ADDRESS.match(address):
        return address
    data = base64_of(address)
    if data is None:
        raise BadParameter("messages", "an image_url is neither data:image/...;base64,... nor an http(s) address")
    try:
        return decode(data)
    except ValueError as error:
        raise BadParameter("messages", "the data of an image_url is no base64; encode the whole file") from error
