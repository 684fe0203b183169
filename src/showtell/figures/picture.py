"""One picture with its captions, and what a model says of it: the caption and where each word looked."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from showtell.attention_map import draw_attention
from showtell.caption import Caption
from showtell.figures.fonts import face_for
from showtell.figures.photos import Photo, paste_photo
from showtell.figures.style import FAINT, LINE, NOTE, PAPER, SOFT, TITLE
from showtell.figures.text import Paragraph, lay_out
from showtell.images import ImageOptions
from showtell.sources import open_picture

BOX = (640, 480)  # most room of the picture, pixels
_WIDTH, _MARGIN, _GAP = 1160, 36, 36  # of the figure, around it, between picture and text; pixels
_CAPTION = 18  # type size, pixels
_MOST_CAPTIONS = 40
_PANEL_MARGIN = 14  # that the panels of attention bring along


@dataclass(frozen=True)
class Told:
    """What a model says of the picture."""

    model: str  # its name
    caption: Caption
    images: ImageOptions  # how the model prepares pictures

    @property
    def likelihood(self) -> str:
        """The log-probability as people read it."""
        words = max(len(self.caption.tokens), 1)
        total = self.caption.log_probability
        of_all, of_a_word = (round(value, 2) + 0.0 for value in (total, total / words))  # + 0.0: never "-0.00"
        return f"log-probability {of_all:.2f}, {of_a_word:.2f} a word"


def draw_picture(photo: Photo, told: Told | None = None) -> Image.Image:
    """A photo loaded for `BOX`, its captions beside it, and below it what a model says, as an RGB picture.

    With attention there is a panel for each word; then the photo must carry its bytes.
    """
    beside, under = _beside(photo), _under(told)
    face = face_for(paragraph.text for paragraph in [*beside, *under])
    panels = _panels(photo, told)
    width = max(_WIDTH, panels.width + 2 * (_MARGIN - _PANEL_MARGIN)) if panels else _WIDTH
    room = (photo.picture.width, photo.picture.height) if photo.picture else (BOX[0] // 2, BOX[1] // 2)
    side = lay_out(beside, width - room[0] - 2 * _MARGIN - _GAP, face)
    below = lay_out(under, width - 2 * _MARGIN, face)
    top = _MARGIN + max(room[1], side.height)  # lower edge of picture and captions
    height = top + _MARGIN + (below.height + _GAP if told else 0) + (panels.height - _PANEL_MARGIN if panels else 0)
    figure = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(figure)
    paste_photo(figure, photo, (_MARGIN, _MARGIN), room, face)
    side.draw(draw, _MARGIN + room[0] + _GAP, _MARGIN)
    if told:
        draw.line((_MARGIN, top + _GAP // 2, width - _MARGIN, top + _GAP // 2), fill=LINE)
        below.draw(draw, _MARGIN, top + _GAP)
    if panels:
        figure.paste(panels, (_MARGIN - _PANEL_MARGIN, top + _GAP + below.height))
    return figure


def _panels(photo: Photo, told: Told | None) -> Image.Image | None:
    if told is None or told.caption.attention is None or photo.source is None:
        return None
    return draw_attention(open_picture(photo.source), told.caption, told.images)


def _beside(photo: Photo) -> list[Paragraph]:
    """The picture's name and facts, then its captions."""
    example = photo.example
    facts = [f"{photo.size[0]} x {photo.size[1]} pixels"] if photo.picture else []
    facts.append(example.split or "in no split")
    shown = [Paragraph(text=text, size=_CAPTION, before=12) for text in example.captions[:_MOST_CAPTIONS]]
    more = len(example.captions) - len(shown)
    last = f"and {more:,} more captions" if more else "" if shown else "no caption"
    return [
        Paragraph(text=example.id, size=TITLE),
        Paragraph(text=", ".join(facts), size=NOTE, colour=SOFT, before=2),
        *shown,
        *([Paragraph(text=last, size=NOTE, colour=FAINT, before=12)] if last else []),
    ]


def _under(told: Told | None) -> list[Paragraph]:
    if told is None:
        return []
    return [
        Paragraph(text=f"told by {told.model}", size=NOTE, colour=SOFT),
        Paragraph(text=told.caption.text or "(no word)", size=TITLE, before=2),
        Paragraph(text=told.likelihood, size=NOTE, colour=SOFT, before=2),
    ]
