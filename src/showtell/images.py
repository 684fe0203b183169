"""Bytes, path or address -> RGB pixels -> encoder input. The only preparation of photos, in training and in use.

S side of the square that the encoder takes, pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from showtell.errors import EncoderError, ImageError
from showtell.sources import MAX_BYTES, MAX_PIXELS, PICTURE_SUFFIXES, Source, load_picture, open_picture, opened_here

__all__ = [
    "FITS",
    "INTERPOLATIONS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "ImageOptions",
    "Source",
    "load_picture",
    "normalise",
    "open_picture",
    "preprocess",
    "read_pixels",
    "seen",
    "to_pixels",
    "to_rgb",
    "upright_size",
]

FITS = ("squash", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

_EXIF_ORIENTATION = 0x0112
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How an encoder wants its pictures. Travels from the encoder's weights into the feature store and the bundle.

    Raises `EncoderError` where a value is impossible.
    """

    size: int = 224  # side of the square, pixels
    fit: str = "squash"  # squash: both sides scaled; crop: centre square kept; pad: laid on white
    crop_fraction: float = 1.0  # crop: this share of the short side's square is kept
    interpolation: str = "bicubic"  # antialiased
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # of values 0..1, per channel R, G, B
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise EncoderError(f"picture size is {self.size}, expected 1 pixel or more")
        if self.fit not in FITS:
            raise EncoderError(f"picture fit is {self.fit!r}, known are {', '.join(FITS)}")
        if self.interpolation not in INTERPOLATIONS:
            raise EncoderError(
                f"picture interpolation is {self.interpolation!r}, known are {', '.join(INTERPOLATIONS)}"
            )
        if not 0 < self.crop_fraction <= 1:
            raise EncoderError(f"crop fraction is {self.crop_fraction}, expected more than 0 and at most 1")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise EncoderError(f"mean {self.mean} and deviation {self.std}: expected three numbers each, deviation > 0")


def read_pixels(
    source: Source, options: ImageOptions, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> NDArray[np.uint8]:
    """Source -> prepared pixels, uint8 (S, S, 3): `open_picture`, then `to_pixels`. Raises `ImageError`."""
    return to_pixels(open_picture(source, max_pixels=max_pixels, max_bytes=max_bytes), options)


def to_pixels(picture: Image.Image, options: ImageOptions) -> NDArray[np.uint8]:
    """Turn a picture of any mode into the square that the encoder sees: uint8 (S, S, 3), RGB, 0..255.

    EXIF rotation is applied, transparency is laid on white, grey becomes RGB, an animation gives its first frame.
    Scaling is antialiased (except "nearest"). A JPEG that `open_picture` opened is decoded at a half, quarter or eighth
    of its size where that leaves at least twice the wanted size on each side; a picture that you opened yourself is
    decoded in full. Raises `ImageError` where the data is truncated or damaged.
    """
    if opened_here(picture):
        width, height = _scaled(picture.size, options)
        picture.draft(None, (2 * width, 2 * height))
    rgb = to_rgb(picture)
    method = Image.Resampling[options.interpolation.upper()]
    size = options.size
    width, height = _scaled(rgb.size, options)
    if options.fit == "squash":
        rgb = rgb.resize((size, size), method)
    elif options.fit == "crop":
        # The same pixels as scaling the whole and cutting the centre out, without making the parts that fall away.
        left, top = round((width - size) / 2), round((height - size) / 2)
        x, y = rgb.width / width, rgb.height / height
        rgb = rgb.resize((size, size), method, box=(left * x, top * y, (left + size) * x, (top + size) * y))
    else:
        square = Image.new("RGB", (size, size), "white")
        square.paste(rgb.resize((width, height), method), ((size - width) // 2, (size - height) // 2))
        rgb = square
    return np.array(rgb)  # a copy of its own, writable: torch takes no other


def preprocess(picture: Image.Image, options: ImageOptions) -> NDArray[np.float32]:
    """Turn a picture of any mode into encoder input: `to_pixels`, then `normalise`.

    Returns float32 of shape (3, S, S). Raises `ImageError` where the data is truncated or damaged.
    """
    return np.ascontiguousarray(normalise(to_pixels(picture, options), options).transpose(2, 0, 1))


def normalise(pixels: NDArray[np.uint8], options: ImageOptions) -> NDArray[np.float32]:
    """Pixels (..., 3) of 0..255 -> float32 of the same shape: (value / 255 - mean) / std, per channel."""
    mean, std = np.array(options.mean, np.float32), np.array(options.std, np.float32)
    scaled: NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return scaled


def seen(picture: Image.Image, options: ImageOptions) -> Image.Image:
    """The part of the picture that the encoder sees, RGB, in its own proportions and size.

    squash: the whole; crop: the centre square; pad: the whole on a white square. A map over the regions fits this.
    """
    rgb = to_rgb(picture)
    if options.fit == "crop":
        side = max(1, round(min(rgb.size) * options.crop_fraction))
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        return rgb.crop((left, top, left + side, top + side))
    if options.fit == "pad":
        side = max(rgb.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(rgb, ((side - rgb.width) // 2, (side - rgb.height) // 2))
        return square
    return rgb


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture upright and in RGB, 8 bits a channel; transparency is laid on white. Raises `ImageError`.

    16-bit grey is scaled from its whole range. Grey of 32 bits and floating-point grey tell no range: see `_grey`.
    """
    load_picture(picture)
    rotation = _ROTATIONS.get(_orientation(picture))
    if rotation is not None:
        picture = picture.transpose(rotation)
    try:
        if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
            picture = _grey(picture)
        if picture.has_transparency_data:
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture.convert("RGBA"))
            picture = white
        elif picture.mode == "LAB":
            return _lab(picture)
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"colours of mode {picture.mode!r} cannot be read ({error}); save the picture as RGB"
        ) from error


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height in pixels once EXIF rotation is applied, from the header alone."""
    turned = _orientation(picture) in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else picture.size


def _scaled(size: tuple[int, int], options: ImageOptions) -> tuple[int, int]:
    """Width and height to which a picture of this size is scaled before anything is cut off or added."""
    width, height = size
    if options.fit == "squash":
        return options.size, options.size
    if (
        options.fit == "crop"
    ):  # the short side gets this, the long side its proportion, rounded down as torchvision does
        short = int(options.size / options.crop_fraction)
        return (short, short * height // width) if width <= height else (short * width // height, short)
    long = max(width, height)
    return max(1, round(options.size * width / long)), max(1, round(options.size * height / long))


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # EXIF is foreign data and no more than a hint: whatever is wrong with it, the picture stands
        return 1


def _grey(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits -> 8 bits.

    16 bits: 0..65535. 32 bits: the same where the values fit (PGM says so), or else from lowest to highest.
    Floating point: 0..1 or 0..255 where the values fit, or else from lowest to highest.
    """
    values = np.asarray(picture).astype(np.float64)  # (H, W)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    limits = (1.0, 255.0) if picture.mode == "F" else (65535.0,)
    fitting = [limit for limit in limits if low >= 0 and high <= limit]
    start, end = (0.0, fitting[0]) if fitting else (low, high)
    scaled = np.where(finite, (values - start) * 255.0 / ((end - start) or 1.0), 0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    rgb = ImageCms.applyTransform(picture, transform)
    assert rgb is not None  # only None where told to work in place
    return rgb
