"""A data set's pictures as figures show them: from their file, or from their address where the file is not there."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image, ImageDraw

from showtell.data.example import Example
from showtell.errors import ImageError
from showtell.figures.fonts import Face
from showtell.figures.style import ALARM, FRAME, LINE, NOTE
from showtell.figures.text import Paragraph, lay_out
from showtell.images import to_rgb, upright_size
from showtell.names import Named, printable
from showtell.sources import open_picture, read_bytes, read_content
from showtell.threads import default_threads

_SHARP_FROM = 4  # times that a picture fits into its place, from which it is a drawing in pixels and no photo
_CONNECTIONS = 8  # pictures loaded from their addresses at a time


@dataclass(frozen=True)
class Photo:
    """One example's picture, made small, or the reason why there is none."""

    example: Example
    picture: Image.Image | None = None  # upright, RGB, fits the box that was asked for
    size: tuple[int, int] = (0, 0)  # width and height of the whole picture, upright, pixels
    error: ImageError | None = None
    source: Named | None = None  # the bytes as they came, where they were asked for


def is_remote(example: Example) -> bool:
    """Whether the picture's file is not there and its data set tells an address."""
    return example.url is not None and not example.image.exists()


def load_photo(example: Example, box: tuple[int, int], *, keep: bool = False) -> Photo:
    """The picture of an example, scaled to fit `box` (width, height); `keep` also gives the bytes."""
    name = str(example.url if is_remote(example) else example.image)
    try:
        content = read_content(name) if is_remote(example) else read_bytes(name)
        source = Named(name, content)
        opened = open_picture(source)
        size = upright_size(opened)
        opened.draft(None, (2 * max(box), 2 * max(box)))
        return Photo(example, _fit(to_rgb(opened), box), size, source=source if keep else None)
    except ImageError as error:
        return Photo(example, error=error)


def load_photos(examples: Sequence[Example], box: tuple[int, int]) -> Iterator[Photo]:
    """The same for many, in order."""
    threads = _CONNECTIONS if any(is_remote(example) for example in examples) else default_threads()
    pool = ThreadPoolExecutor(threads, "showtell-photos")
    try:
        yield from pool.map(lambda example: load_photo(example, box), examples)
    finally:
        pool.shutdown(cancel_futures=True)


def short_reason(photo: Photo) -> str:
    """Why there is no picture, without its name and without what to do."""
    name = printable(str(photo.example.url if is_remote(photo.example) else photo.example.image))
    return str(photo.error).removeprefix(f"{name}: ").split(";")[0].split(", expected")[0]


def paste_photo(sheet: Image.Image, photo: Photo, corner: tuple[int, int], box: tuple[int, int], face: Face) -> None:
    """Draw a photo in the middle of its place, or an empty frame with the reason."""
    draw = ImageDraw.Draw(sheet)
    left, top = corner
    width, height = box
    # The edge lies around the place, so that a white picture has one too and no pixel is covered.
    draw.rectangle((left - 1, top - 1, left + width, top + height), fill=FRAME, outline=LINE)
    if photo.picture is not None:
        picture = photo.picture
        if picture.width > width or picture.height > height:
            picture = _fit(picture, box)
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        return
    inner = max(width - 2 * NOTE, NOTE)
    reason = Paragraph(text=short_reason(photo), size=NOTE, colour=ALARM, most_lines=max(1, height // (2 * NOTE)))
    column = lay_out([reason], inner, face)
    column.draw(draw, left + (width - inner) // 2, top + (height - column.height) // 2)


def _fit(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Scaled to the box. A much smaller picture is enlarged by a whole number, so that its pixels stay sharp."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    if scale >= _SHARP_FROM:
        size = int(scale) * picture.width, int(scale) * picture.height
        return picture.resize(size, Image.Resampling.NEAREST)
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    return picture.resize(size, Image.Resampling.LANCZOS)
