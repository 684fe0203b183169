"""A contact sheet: pictures in rows, each with its captions below it."""

import math
from collections.abc import Sequence
from statistics import median

from PIL import Image, ImageDraw

from showtell.figures.fonts import Face, face_for
from showtell.figures.photos import Photo, paste_photo
from showtell.figures.style import FAINT, NOTE, PAPER, SOFT, TEXT, TITLE
from showtell.figures.text import Paragraph, lay_out, shorten

BOX = (280, 280)  # most room of a picture, pixels
_LEAST = 170  # height of a picture's place, pixels
_MARGIN, _GAP, _BELOW = 36, 28, 10  # around the sheet, between cells, between a picture and its text; pixels
_MOST_COLUMNS = 8
_MOST_CAPTIONS, _MOST_LINES = 5, 10  # of one picture; of one caption


def draw_sheet(title: str, note: str, photos: Sequence[Photo]) -> Image.Image:
    """Pictures loaded for `BOX` with up to five captions each, under a title, as an RGB picture."""
    face = face_for([title, note, *(text for photo in photos for text in (photo.example.id, *photo.example.captions))])
    box = BOX[0], _height(photos)
    columns = _columns(len(photos))
    width = 2 * _MARGIN + columns * BOX[0] + (columns - 1) * _GAP
    lines = [Paragraph(text=title, size=TITLE), Paragraph(text=note, size=TEXT, colour=SOFT, before=2)]
    head = lay_out(lines, width - 2 * _MARGIN, face)
    texts = [lay_out(_cell(photo, face), BOX[0], face) for photo in photos]
    rows = [range(start, min(start + columns, len(photos))) for start in range(0, len(photos), columns)]
    heights = [box[1] + _BELOW + max(texts[i].height for i in row) for row in rows]
    height = 2 * _MARGIN + head.height + sum(_GAP + height for height in heights)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    head.draw(draw, _MARGIN, _MARGIN)
    top = _MARGIN + head.height + _GAP
    for row, row_height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN + column * (BOX[0] + _GAP)
            paste_photo(sheet, photos[i], (left, top), box, face)
            texts[i].draw(draw, left, top + box[1] + _BELOW)
        top += row_height + _GAP
    return sheet


def _columns(count: int) -> int:
    """As many columns as make rows of nearly equal length: half as many again as rows, as cells are high."""
    most = min(_MOST_COLUMNS, math.ceil(math.sqrt(1.5 * count)))
    return math.ceil(count / math.ceil(count / most))


def _height(photos: Sequence[Photo]) -> int:
    """Of the pictures' places: what the pictures have, as a rule, at their full width."""
    heights = [BOX[0] * photo.size[1] / photo.size[0] for photo in photos if photo.picture]
    return min(max(round(median(heights)), _LEAST), BOX[1]) if heights else round(BOX[0] * 3 / 4)


def _cell(photo: Photo, face: Face) -> list[Paragraph]:
    """What stands below a picture: its id, its captions, how many more there are."""
    example = photo.example
    shown = [Paragraph(text=text, before=7, most_lines=_MOST_LINES) for text in example.captions[:_MOST_CAPTIONS]]
    more = len(example.captions) - len(shown)
    last = f"and {more:,} more" if more else "" if shown else "no caption"
    lines = [Paragraph(text=shorten(example.id, NOTE, BOX[0], face), size=NOTE, colour=FAINT), *shown]
    return [*lines, Paragraph(text=last, size=NOTE, colour=FAINT, before=7)] if last else lines
