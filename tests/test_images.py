"""Preparation of pictures: every mode and fit against values worked out by hand or by Pillow step by step."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from showtell.errors import EncoderError, ImageError
from showtell.images import ImageOptions, normalise, open_picture, preprocess, read_pixels, seen, to_pixels, to_rgb

SQUASH = ImageOptions(size=16, interpolation="bilinear")


def encoded(picture: Image.Image, kind: str, **arguments) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **arguments)
    return buffer.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, blue is constant: no two corners look alike."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], -1).astype(np.uint8))


def colour_of(source) -> tuple[int, ...]:
    """The one colour of a plain picture."""
    pixels = read_pixels(source, SQUASH)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (16, 16, 3)
    assert (pixels == pixels[0, 0]).all()
    return tuple(int(value) for value in pixels[0, 0])


# Colours and modes


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000", "PPM", "ICO"])
def test_every_lossless_format_gives_its_colour(kind):
    arguments = {"lossless": True} if kind == "WEBP" else {}
    assert colour_of(encoded(Image.new("RGB", (20, 30), (200, 40, 0)), kind, **arguments)) == (200, 40, 0)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "HEIF"])
def test_every_lossy_format_gives_nearly_its_colour(kind):
    picture = Image.new("RGB", (64, 64), (200, 40, 0))
    if kind == "HEIF":
        buffer = BytesIO()
        pytest.importorskip("pillow_heif").from_pillow(picture).save(buffer)
        content = buffer.getvalue()
    else:
        content = encoded(picture, kind)
    found = colour_of(content)
    np.testing.assert_allclose(found, (200, 40, 0), atol=4)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 255), (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # a fifth of black on white
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("I;16", 90 * 257, (90, 90, 90)),  # 16 bits: 65535 is white
        ("I", 90 * 257, (90, 90, 90)),
        ("F", 0.2, (51, 51, 51)),
        ("F", 90.0, (90, 90, 90)),
    ],
)
def test_a_picture_of_any_mode_becomes_rgb_on_white(mode, value, expected):
    assert colour_of(Image.new(mode, (8, 8), value)) == expected


def test_grey_of_unknown_range_is_stretched_from_lowest_to_highest():
    values = np.array([[-100, 0], [100, 300]], np.int32)
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(values)))[..., 0], [[0, 64], [128, 255]])


def test_floating_grey_with_holes_shows_them_black():
    values = np.array([[np.nan, 0.5], [np.inf, 1.0]], np.float32)
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(values)))[..., 1], [[0, 128], [0, 255]])


def test_sixteen_bit_png_and_tiff_keep_their_tones():
    ramp = np.linspace(0, 65535, 16).astype(np.uint16)
    picture = Image.fromarray(np.tile(ramp, (16, 1)))
    for kind in ("PNG", "TIFF"):
        found = read_pixels(encoded(picture, kind), ImageOptions(size=16, interpolation="nearest"))
        np.testing.assert_array_equal(found[0, :, 0], np.rint(ramp / 257))


def test_lab_becomes_rgb():
    rgb = Image.new("RGB", (8, 8), (180, 60, 30))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(rgb, to_lab)
    np.testing.assert_allclose(colour_of(encoded(lab, "TIFF")), (180, 60, 30), atol=3)


def test_cmyk_jpeg_is_read():
    found = colour_of(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95))
    np.testing.assert_allclose(found, (255, 0, 0), atol=4)


def test_palette_with_a_transparent_colour_is_laid_on_white():
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 250, 10, 20])
    assert colour_of(encoded(picture, "PNG", transparency=1)) == (255, 255, 255)
    assert colour_of(encoded(picture, "PNG", transparency=0)) == (250, 10, 20)


def test_palette_with_half_transparent_colours_is_laid_on_white():
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 0, 0, 0])
    assert colour_of(encoded(picture, "PNG", transparency=bytes([255, 51]))) == (204, 204, 204)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(colour_of(content), (255, 0, 0), atol=2)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_as_pillow_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(gradient(40, 20), "PNG", exif=exif)
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(Image.open(BytesIO(content)))
    assert to_rgb(open_picture(content)).size == upright.size
    np.testing.assert_array_equal(read_pixels(content, SQUASH), to_pixels(upright.convert("RGB"), SQUASH))


@pytest.mark.parametrize("value", [0, 9, 77])
def test_senseless_exif_rotation_leaves_the_picture(value):
    exif = Image.Exif()
    exif[0x0112] = value
    picture = gradient(40, 20)
    np.testing.assert_array_equal(read_pixels(encoded(picture, "PNG", exif=exif), SQUASH), read_pixels(picture, SQUASH))


def test_damaged_exif_is_ignored():
    content = encoded(Image.new("RGB", (32, 32), (90, 90, 90)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\0\0")
    np.testing.assert_allclose(colour_of(content), (90, 90, 90), atol=2)


# Fits


def test_squash_scales_both_sides():
    picture = gradient(64, 32)
    expected = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(to_pixels(picture, SQUASH), expected)


@given(width=st.integers(1, 90), height=st.integers(1, 90), fraction=st.sampled_from([0.5, 0.875, 0.95, 1.0]))
@settings(max_examples=60, deadline=None)
def test_crop_equals_scaling_the_whole_and_cutting_the_centre_out(width, height, fraction):
    picture = gradient(width, height)
    options = ImageOptions(size=20, fit="crop", crop_fraction=fraction, interpolation="bicubic")
    short = int(20 / fraction)
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    scaled = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 20) / 2), round((size[1] - 20) / 2)
    expected = np.asarray(scaled.crop((left, top, left + 20, top + 20))).astype(int)
    # A box in floating point can move a rounding by one step of 255.
    assert np.abs(to_pixels(picture, options).astype(int) - expected).max() <= 1


def test_pad_lays_the_whole_on_white():
    options = ImageOptions(size=16, fit="pad", interpolation="nearest")
    pixels = to_pixels(Image.new("RGB", (100, 50), (10, 20, 30)), options)
    assert (pixels[:4] == 255).all()
    assert (pixels[4:12] == (10, 20, 30)).all()
    assert (pixels[12:] == 255).all()


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_the_smallest_and_the_thinnest_pictures_are_prepared(fit, size):
    pixels = to_pixels(Image.new("RGB", size, (7, 8, 9)), ImageOptions(size=224, fit=fit))
    assert pixels.shape == (224, 224, 3)
    assert (pixels[111, 111] == (7, 8, 9)).all()


def test_scaling_down_is_antialiased():
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = to_pixels(Image.fromarray(stripes), SQUASH)
    assert np.abs(pixels[1:-1, 1:-1].astype(int) - 127).max() <= 2  # grey: not the 0 or 255 of whichever stripe is hit


def test_preprocess_is_channels_first_and_normalised_by_hand():
    options = ImageOptions(size=4, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    planes = preprocess(Image.new("RGB", (8, 8), (255, 0, 51)), options)
    assert planes.dtype == np.float32
    assert planes.shape == (3, 4, 4)
    np.testing.assert_allclose(planes[:, 0, 0], [1.0, -1.0, 0.1], atol=1e-6)
    pixels = np.full((2, 4, 4, 3), (255, 0, 51), np.uint8)
    np.testing.assert_allclose(normalise(pixels, options)[1, 2, 3], [1.0, -1.0, 0.1], atol=1e-6)


def test_seen_is_the_part_that_the_encoder_sees():
    picture = gradient(60, 40)
    assert seen(picture, ImageOptions(fit="squash")).size == (60, 40)
    assert seen(picture, ImageOptions(fit="pad")).size == (60, 60)
    half = seen(picture, ImageOptions(fit="crop", crop_fraction=0.5))
    np.testing.assert_array_equal(np.asarray(half), np.asarray(picture)[10:30, 20:40])


# JPEG decoded smaller


def test_a_large_jpeg_is_decoded_smaller_and_stays_faithful():
    content = encoded(gradient(1600, 1200), "JPEG", quality=95)
    options = ImageOptions(size=100)
    picture = open_picture(content)
    found = to_pixels(picture, options)
    assert picture.size == (400, 300)  # a quarter; an eighth would leave less than twice 100
    whole = to_pixels(Image.open(BytesIO(content)), options)
    assert np.abs(found.astype(int) - whole).mean() < 1.0


@pytest.mark.parametrize(("fit", "expected"), [("squash", (800, 200)), ("crop", (1600, 400)), ("pad", (200, 50))])
def test_a_jpeg_keeps_twice_the_needed_size_whatever_the_fit(fit, expected):
    picture = open_picture(encoded(gradient(1600, 400), "JPEG"))
    to_pixels(picture, ImageOptions(size=110 if fit == "crop" else 100, fit=fit))
    assert picture.size == expected


def test_a_picture_that_the_caller_opened_is_not_decoded_smaller():
    picture = Image.open(BytesIO(encoded(gradient(1600, 1200), "JPEG")))
    to_pixels(picture, ImageOptions(size=50))
    assert picture.size == (1600, 1200)


# Arrays and options


def test_arrays_of_bytes_are_pictures():
    rgb = np.full((5, 7, 3), (1, 2, 3), np.uint8)
    alpha = np.dstack([rgb, np.zeros((5, 7), np.uint8)])
    assert colour_of(rgb) == (1, 2, 3)
    assert colour_of(alpha) == (255, 255, 255)
    assert colour_of(rgb[..., 0]) == colour_of(rgb[..., :1]) == (1, 1, 1)
    assert colour_of(rgb[:, ::-1]) == (1, 2, 3)  # not contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_the_cure(array):
    with pytest.raises(ImageError, match=r"expected uint8 \(H, W\).*\(array \* 255\)"):
        open_picture(array)


def test_an_array_without_pixels_is_refused():
    with pytest.raises(ImageError, match="holds no pixel"):
        open_picture(np.zeros((0, 4, 3), np.uint8))


def test_prepared_pixels_can_be_written_to():
    assert to_pixels(gradient(4, 4), SQUASH).flags.writeable


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"size": 0}, "picture size is 0"),
        ({"fit": "stretch"}, "known are squash, crop, pad"),
        ({"interpolation": "cubic"}, "known are nearest"),
        ({"crop_fraction": 1.5}, "crop fraction is 1.5"),
        ({"std": (1.0, 0.0, 1.0)}, "deviation > 0"),
    ],
)
def test_impossible_options_are_refused(change, text):
    with pytest.raises(EncoderError, match=text):
        ImageOptions(**change)
