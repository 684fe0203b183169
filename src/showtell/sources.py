"""Path, bytes, address, array or PIL picture -> an opened picture, or one clear line about what is wrong with it."""

import errno
import os
import re
import stat
import threading
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from showtell.errors import ImageError
from showtell.names import Named, printable

# What can be captioned: a path, an http(s) address, a file's bytes (with a name or without), a PIL picture, or pixels
# as uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).
Source = str | os.PathLike[str] | bytes | Named | Image.Image | NDArray[Any]

MAX_PIXELS = 100_000_000  # width times height, as the header tells
MAX_BYTES = 256 * 1024 * 1024  # of a file or a download
FETCH_SECONDS = 30.0  # for a whole download

# Files of a folder that are taken for pictures. Content, not the name, decides how a file is read.
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
) | {".heic", ".heif", ".hif", ".avif", ".avifs", ".jp2", ".j2k", ".pgm", ".ppm", ".pbm", ".pnm", ".ico"}
# Formats by Pillow's names. EPS is left out on purpose: Pillow would start Ghostscript on a stranger's program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
_EXPECTED = "expected JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_SIGNATURES = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\xff\xd8", "a JPEG without a whole header"),
    (b"\x89PNG", "a PNG without a whole header"),
    (b"GIF8", "a GIF without a whole header"),
    (b"RIFF", "a WebP or RIFF file without a whole header"),
    (b"II*\0", "a TIFF without a whole header"),
    (b"MM\0*", "a TIFF without a whole header"),
)
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_NAME = "showtell.source"  # key in the info of pictures that were opened here
# Pillow warns of large pictures and odd EXIF while it opens them. Python's way to silence a warning is not safe between
# threads that overlap, so they take turns; opening reads only the header.
_opening = threading.Lock()


def is_address(source: object) -> bool:
    """Whether the source is text such as "https://...": a scheme and two slashes."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


def source_name(source: Source) -> str:
    """The name of a source in results: the path or address as given, or what kind of thing it is."""
    if isinstance(source, Named):
        return source.name
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, Image.Image):
        return str(
            source.info.get(_NAME) or getattr(source, "filename", "") or f"<picture {source.mode} {source.size}>"
        )
    if isinstance(source, np.ndarray):
        return f"<array {source.dtype} {source.shape}>"
    return f"<{type(source).__name__}>"


def open_picture(source: Source, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Open a picture: path, http(s) address, bytes, PIL picture, or uint8 array (H, W) or (H, W, 1 | 3 | 4).

    The content decides the format, not the name. The header is read and checked; the pixels are decoded later
    (`load_picture`, `images.to_pixels`), and no file stays open. A PIL picture is given back as it is.
    Raises `ImageError`, in one line, where there is no such file, it is empty, no picture, larger than `max_bytes` or
    `max_pixels`, or the address fails.
    """
    name = printable(source_name(source))
    if isinstance(source, Image.Image):
        picture = source
    elif isinstance(source, np.ndarray):
        picture = _from_array(source, name)
    elif isinstance(source, str | os.PathLike | bytes | Named):
        picture = _from_bytes(read_content(source, max_bytes=max_bytes), name)
        picture.info[_NAME] = name
    else:
        raise ImageError(f"{name}: expected a path, an address, bytes, a PIL picture or a uint8 array")
    if picture.width * picture.height > max_pixels:
        raise _too_large(name, f"{picture.width} x {picture.height}", max_pixels)
    if not picture.width * picture.height:
        raise ImageError(f"{name}: is {picture.width} x {picture.height} pixels; expected at least one pixel")
    return picture


def load_picture(picture: Image.Image) -> None:
    """Decode the pixels of an opened picture. Raises `ImageError` where the data is truncated or damaged."""
    try:
        picture.load()
    except Exception as error:  # decoders of foreign data fail in many ways; one bad picture must not end the rest
        kind = picture.format or "picture"
        raise ImageError(
            f"{printable(source_name(picture))}: the {kind} data is truncated or damaged "
            f"({_reason(error)}); copy or download it again"
        ) from error


def opened_here(picture: Image.Image) -> bool:
    """Whether `open_picture` read it from a file or bytes, so that decoding it smaller changes nobody's picture."""
    return _NAME in picture.info


def read_bytes(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file that should be a picture. Raises `ImageError` naming the file and the reason."""
    name = printable(os.fspath(path))
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: is a folder, expected a picture; give the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name}: is no regular file; pipe the picture in and give - instead")
        if status.st_size > max_bytes:
            raise ImageError(f"{name}: {status.st_size} bytes, more than the {max_bytes} allowed; make it smaller")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        if Path(path).is_symlink():
            target = printable(str(Path(path).readlink()))
            raise ImageError(f"{name}: a link to {target}, which does not exist; mend or remove the link") from error
        raise ImageError(f"{name}: no such file; check the name") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read (permission denied); change its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        hint = "mend or remove the link" if getattr(error, "errno", 0) == errno.ELOOP else "check the name and the disk"
        raise ImageError(f"{name}: cannot be read ({reason}); {hint}") from error


def read_content(source: Source, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a path, an address, bytes or `Named` bytes. Raises `ImageError` naming the source and the reason."""
    if isinstance(source, str) and (scheme := _ADDRESS.match(source)):
        if scheme[1].lower() not in ("http", "https"):
            raise ImageError(f"{printable(source)}: only http and https addresses are fetched; download it yourself")
        from showtell.address import fetch

        return fetch(source, max_bytes=max_bytes, timeout=FETCH_SECONDS)
    if isinstance(source, str | os.PathLike):
        return read_bytes(source, max_bytes=max_bytes)
    content = source.content if isinstance(source, Named) else source
    if not isinstance(content, bytes):
        raise ImageError(f"{printable(source_name(source))}: expected a path, an address or bytes")
    if len(content) > max_bytes:
        name = printable(source_name(source))
        raise ImageError(f"{name}: {len(content)} bytes, more than the {max_bytes} allowed; make it smaller")
    return content


def kind_of(content: bytes) -> str:
    """What bytes that are no picture seem to be, for a message."""
    head = content[:512]
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if b"\0" not in head and sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head) == 0:
        return "text"
    return f"unknown data (it starts with {head[:8].hex(' ')})"


def _from_bytes(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ImageError(f"{name}: is empty (0 bytes), {_EXPECTED}; copy or download it again")
    formats: tuple[str, ...] = _FORMATS
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        _register_heif(name)
        formats = ("HEIF",)
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(BytesIO(content), formats=formats)
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise _too_large(name, pixels[0] if pixels else "very many", 2 * (Image.MAX_IMAGE_PIXELS or 0)) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: no picture: found {kind_of(content)}, {_EXPECTED}") from error
    except Exception as error:  # see load_picture: headers are foreign data too
        raise ImageError(f"{name}: the header is damaged ({_reason(error)}); copy or download it again") from error


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{name}: expected uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with values 0..255; "
            "bring floats of 0..1 there with (array * 255).round().astype('uint8')"
        )
    if not array.size:
        raise ImageError(f"{name}: holds no pixel; expected at least one")
    return Image.fromarray(array)


def _reason(error: Exception) -> str:
    return printable(str(error)) or type(error).__name__


def _too_large(name: str, found: str, limit: int) -> ImageError:
    return ImageError(f"{name}: {found} pixels, more than the {limit} allowed; scale it down first")


def _register_heif(name: str) -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(f"{name}: is HEIC, which needs a plug-in: pip install 'showtell[heic]'") from error
    register_heif_opener()
