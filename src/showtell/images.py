"""Bytes, path or address -> RGB pixels -> encoder input. The only preparation of photos, in training and in use."""

from dataclasses import dataclass

from showtell.errors import EncoderError

FITS = ("squash", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


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
