"""What texts a figure of matplotlib draws, and whether all of them can be read."""

from itertools import combinations
from unittest.mock import patch

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

_TOUCH = 1  # pixel by which texts may overlap: boxes are larger than the ink


def unreadable(figure) -> list[str]:
    """Texts that are cut at the edge or lie over each other."""
    boxes = {text: text.get_window_extent().extents for text in _drawn(figure)}  # left, bottom, right, top; pixels
    width, height = figure.bbox.width, figure.bbox.height
    faults = [
        f"cut: {text.get_text()!r}"
        for text, (left, bottom, right, top) in boxes.items()
        if left < 0 or bottom < 0 or right > width or top > height
    ]
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if wide > _TOUCH and high > _TOUCH:
            faults.append(f"overlap: {one.get_text()!r} and {other.get_text()!r}")
    return faults


def _drawn(figure) -> list[Text]:
    """Every text that reaches the picture; matplotlib also keeps some that do not, as those of ticks out of sight."""
    found, draw = {}, Text.draw

    def note(text, renderer, *arguments, **more):
        found[text] = text.get_visible() and text.get_text().strip()
        return draw(text, renderer, *arguments, **more)

    with patch.object(Text, "draw", note):
        FigureCanvasAgg(figure).draw()
    return [text for text, visible in found.items() if visible]
