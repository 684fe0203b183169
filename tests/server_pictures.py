"""Pictures that the tiny bundle tells apart, as clients send them."""

import base64
from io import BytesIO

from PIL import Image

COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200)}


def picture_file(colour="red", *, form="PNG", size=(48, 32)) -> bytes:
    """A file of which the tiny bundle says "a COLOUR picture"."""
    stream = BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(stream, form)
    return stream.getvalue()


def data_address(colour="red", **options) -> str:
    return "data:image/png;base64," + base64.b64encode(picture_file(colour, **options)).decode()
