"""Where a captioner looked: the picture once per word, the word's attention laid over as heat. Pillow only.

T words, h and w rows and columns of regions, H and W height and width of a panel in pixels.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from showtell.caption import Caption
from showtell.errors import ShowtellError
from showtell.figures.fonts import face_for, font
from showtell.images import ImageOptions, seen

_LONG_SIDE = 240  # of a panel, pixels
_MOST_COLUMNS = 6
_MARGIN, _TITLE_HEIGHT, _FONT_SIZE = 14, 28, 18  # pixels
_BACKGROUND, _INK, _FAINT = (255, 255, 255), (24, 24, 27), (113, 113, 122)
# Heat from none to most: dark violet over red and orange to pale yellow, rising in lightness so that grey print works.
_HEAT = np.array([(24, 10, 60), (110, 25, 110), (205, 60, 75), (250, 145, 40), (252, 250, 175)], np.float32)
_DIMMED = 0.35  # brightness of the picture where no attention lies
_OPACITY = 0.55  # of the heat where most attention lies


def draw_attention(picture: Image.Image, caption: Caption, options: ImageOptions) -> Image.Image:
    """One panel for the picture and one per word, each titled with its word, as an RGB picture.

    Each word's map is scaled to its own highest value. Where the encoder cuts or pads pictures, panels show what it
    saw. Raises `ShowtellError` where the caption carries no attention, `ImageError` where the picture is damaged.
    """
    if caption.attention is None:
        raise ShowtellError(
            f"{caption.source}: its caption carries no attention: ask for it, from a model whose regions form a grid"
        )
    shown = seen(picture, options)
    scale = _LONG_SIDE / max(shown.size)
    size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
    shown = shown.resize(size, Image.Resampling.LANCZOS)
    panels = [shown, *(_heat(shown, weights) for weights in caption.attention)]
    titles = ["", *caption.tokens]
    return _grid(panels, titles)


def _heat(picture: Image.Image, weights: NDArray[np.float32]) -> Image.Image:
    """Picture (H, W) with weights (h, w), >= 0, laid over: dimmed where they are low, warm where they are high."""
    relative = weights / max(float(weights.max()), 1e-12)
    smooth = Image.fromarray(relative.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth), 0, 1)[..., None]  # (H, W, 1)
    place = heat[..., 0] * (len(_HEAT) - 1)  # (H, W)
    colour = np.stack([np.interp(place, range(len(_HEAT)), channel) for channel in _HEAT.T], axis=-1)  # (H, W, 3)
    base = np.asarray(picture, np.float32) * (_DIMMED + (1 - _DIMMED) * heat)  # (H, W, 3)
    mixed = base * (1 - _OPACITY * heat) + colour * _OPACITY * heat
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _grid(panels: list[Image.Image], titles: list[str]) -> Image.Image:
    """Panels of one size in rows of nearly equal length, each under its title, numbered in reading order."""
    width, height = panels[0].size
    cell_width = max(width, 120)  # room for a title beside a narrow picture
    columns = min(len(panels), _MOST_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / rows)
    sheet = Image.new(
        "RGB",
        (columns * (cell_width + _MARGIN) + _MARGIN, rows * (height + _TITLE_HEIGHT + _MARGIN) + _MARGIN),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    for i, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        left = _MARGIN + (i % columns) * (cell_width + _MARGIN)
        top = _MARGIN + (i // columns) * (height + _TITLE_HEIGHT + _MARGIN)
        centre = left + cell_width / 2
        if title:
            fitting = _fitting_font(draw, title, cell_width)
            draw.text((centre, top + _TITLE_HEIGHT / 2), title, fill=_INK, font=fitting, anchor="mm")
        else:
            small = font(None, _FONT_SIZE - 4)
            draw.text((centre, top + _TITLE_HEIGHT / 2), "picture", fill=_FAINT, font=small, anchor="mm")
        sheet.paste(panel, (left + (cell_width - width) // 2, top + _TITLE_HEIGHT))
    return sheet


def _fitting_font(draw: ImageDraw.ImageDraw, title: str, width: int) -> ImageFont.FreeTypeFont:
    """A font that has the word's characters in the usual size, or the largest below at which it fits its panel."""
    file = face_for([title]).files[0]
    sizes = range(_FONT_SIZE, 7, -1)
    return next((f for size in sizes if draw.textlength(title, font=(f := font(file, size))) <= width), font(file, 8))
