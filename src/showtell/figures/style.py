"""How every figure looks: colours, type sizes, margins, and matplotlib's settings. One place for all.

Colours of series are Okabe and Ito's (2008), which colour-blind people tell apart; those too pale for lines on white
are left out.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from showtell.errors import MissingExtraError, ShowtellError
from showtell.files import write_bytes
from showtell.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

PAPER, FRAME = "#ffffff", "#f4f4f5"  # background; behind pictures that do not fill their place
INK, SOFT, FAINT, LINE = "#18181b", "#52525b", "#71717a", "#e4e4e7"  # text, second text, notes, grids; all on white
ALARM = "#b91c1c"  # reasons why something is not there
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b0447f", "#8a6d00", "#3b9bd3", "#4d4d4d")
QUIET = "#c9ced6"  # bars that are there for comparison

TITLE, TEXT, NOTE = 22, 15, 13  # type sizes in pixels, of figures that Pillow draws

_DPI = 130
_MATPLOTLIB = {
    "figure.dpi": _DPI,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 9.5,
    "axes.labelpad": 6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


@contextmanager
def plotting(what: str, texts: str = "") -> Iterator[None]:
    """Matplotlib with these settings and no others, and with fonts for the characters of `texts`.

    Raises `MissingExtraError` where matplotlib is missing; `what` is the command or option that needs it.
    """
    try:
        import matplotlib.style
        from matplotlib import font_manager
    except ImportError as error:
        raise MissingExtraError(f"`{what}` needs matplotlib: pip install 'showtell[train]'") from error
    from showtell.figures.fonts import fallback_files

    families = ["DejaVu Sans"]
    for path in fallback_files(texts):
        font_manager.fontManager.addfont(path)
        families.append(font_manager.FontProperties(fname=path).get_name())
    settings: dict[str, Any] = _MATPLOTLIB | {"font.family": families}
    with matplotlib.style.context(settings, after_reset=True):
        yield


def figure_bytes(figure: "Figure") -> bytes:
    """A figure of matplotlib as PNG; the same figure always gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def picture_bytes(picture: "Image.Image") -> bytes:
    """A picture as PNG, without metadata."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False)
    return out.getvalue()


def write_figure(path: Path, content: bytes) -> None:
    """The whole file or none. Raises `ShowtellError` where it cannot be written."""
    try:
        write_bytes(path, content)
    except OSError as error:
        name = printable(str(path))
        raise ShowtellError(f"{name}: cannot be written ({error.strerror or error}); check folder and disk") from error
