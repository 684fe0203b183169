"""Bad input: each case gives one line that names the source and the reason."""

import os
import struct
import sys
import threading
import warnings
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from showtell.address import fetch
from showtell.errors import ImageError
from showtell.images import ImageOptions, read_pixels
from showtell.names import Named, printable
from showtell.sources import open_picture, source_name

OPTIONS = ImageOptions(size=8)


def encoded(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims a size; the pixels would follow."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">II", zlib.crc32(head), 9) + b"IDAT"


def problem(source, **limits) -> str:
    """The error's text, which must be one line."""
    with pytest.raises(ImageError) as caught:
        read_pixels(source, OPTIONS, **limits)
    text = str(caught.value)
    assert text == printable(text)
    return text


def test_a_missing_file_is_named(tmp_path):
    assert problem(tmp_path / "no.jpg") == f"{tmp_path}/no.jpg: no such file; check the name"


def test_a_folder_is_no_picture(tmp_path):
    assert "is a folder, expected a picture" in problem(tmp_path)


def test_a_dangling_link_names_its_target(tmp_path):
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    assert "link.jpg: a link to gone.jpg, which does not exist" in problem(tmp_path / "link.jpg")


def test_a_link_to_itself_is_told(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert "loop.jpg: cannot be read" in problem(tmp_path / "loop.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_permissions_are_told(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded("PNG"))
    path.chmod(0)
    assert "secret.png: may not be read (permission denied)" in problem(path)


def test_a_permission_error_is_told_whoever_runs_the_tests(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.png").write_bytes(encoded("PNG"))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "secret.png: may not be read (permission denied)" in problem(tmp_path / "secret.png")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "is no regular file" in problem(tmp_path / "pipe.jpg")


def test_a_name_with_a_null_byte_is_told():
    assert r"a\x00b.jpg: cannot be read" in problem("a\0b.jpg")


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "empty.jpg: is empty (0 bytes), expected JPEG" in problem(tmp_path / "empty.jpg")
    assert problem(b"").startswith("<0 bytes>: is empty")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"This is only text.\n", "found text"),
        (b"\n<!DOCTYPE html><html>", "found a web page"),
        (b"%PDF-1.7", "found a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "found PostScript"),
        (b"PK\x03\x04\0\0", "found a ZIP archive"),
        (b"\0\1\2\3", "found unknown data (it starts with 00 01 02 03)"),
    ],
)
def test_what_is_no_picture_is_said_to_be_what_it_is(tmp_path, content, found):
    (tmp_path / "x.jpg").write_bytes(content)
    text = problem(tmp_path / "x.jpg")
    assert "x.jpg: no picture: " + found in text
    assert "expected JPEG, PNG, WebP" in text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_pictures_are_told(tmp_path, kind, share):
    content = encoded(kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: int(len(content) * share)])
    assert str(path) in problem(path)


def test_heic_without_the_plugin_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # importing it fails
    assert "is HEIC, which needs a plug-in: pip install 'showtell[heic]'" in problem(b"\0\0\0\x18ftypheic\0\0\0\0")


def test_a_picture_with_another_suffix_is_read_by_its_content(tmp_path):
    (tmp_path / "x.txt").write_bytes(encoded("PNG"))
    assert read_pixels(tmp_path / "x.txt", OPTIONS).shape == (8, 8, 3)


@pytest.mark.parametrize("size", [(30_000, 30_000), (12_000, 9_000), (60_000, 2_000)])
def test_bombs_are_refused_from_their_header(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = problem(png_header(*size))
    assert "pixels, more than the" in text
    assert "scale it down" in text


def test_a_picture_below_the_limit_gives_no_warning_even_where_pillow_would():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_picture(png_header(9_900, 9_900)).size == (9_900, 9_900)


def test_limits_can_be_set():
    assert "64 x 48 pixels, more than the 3000 allowed" in problem(encoded("PNG"), max_pixels=3000)
    assert "more than the 100 allowed" in problem(encoded("PNG"), max_bytes=100)


def test_a_file_over_the_byte_limit_is_not_read(tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    assert "huge.jpg: 1099511627776 bytes, more than the" in problem(tmp_path / "huge.jpg")


def test_text_and_things_of_other_types_are_refused():
    assert "expected a path, an address, bytes" in problem(12.5)


@given(
    data=st.binary(max_size=300), kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF"]), at=st.integers(0, 400)
)
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_pixels_or_one_line(data, kind, at):
    content = encoded(kind, (24, 16))
    damaged = content[:at] + data + content[at + len(data) :]
    pixels, problem = None, ""
    try:
        pixels = read_pixels(Named("x", damaged), OPTIONS)
    except ImageError as error:
        problem = str(error)
    assert pixels is None or pixels.shape == (8, 8, 3)
    assert pixels is not None or (problem.startswith("x: ") and "\n" not in problem)


@pytest.mark.parametrize(
    "name",
    ["with space.png", "tab\there.png", "line\nbreak.png", "schön-写真-🦊.png", os.fsdecode(b"caf\xe9-\xff.png")],
)
def test_names_of_any_kind_are_read_and_told_on_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded("PNG"))
    assert read_pixels(str(path), OPTIONS).shape == (8, 8, 3)
    path.write_bytes(b"")
    text = problem(str(path))
    assert len(text.splitlines()) == 1
    text.encode()


def test_printable_escapes_what_breaks_a_line_and_nothing_else():
    assert printable("a\tb\nc\r\x1b") == "a\\tb\\nc\\r\\x1b"
    assert printable("ü 写　真\\n") == "ü 写　真\\n"
    assert printable(os.fsdecode(b"\xff")) == "\\xff"
    assert printable("\u2028\ud800") == "\\u2028\\ud800"


def test_names_of_sources_are_as_given(tmp_path):
    assert source_name("./a.jpg") == "./a.jpg"
    assert source_name(Path("x/a.jpg")) == "x/a.jpg"
    assert source_name(Named("-", b"...")) == "-"
    assert source_name(b"123") == "<3 bytes>"
    assert source_name(np.zeros((2, 3), np.uint8)) == "<array uint8 (2, 3)>"
    assert source_name(Image.new("L", (2, 3))) == "<picture L (2, 3)>"
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    assert source_name(open_picture(tmp_path / "a.png")) == str(tmp_path / "a.png")


# Addresses


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        content = b"hello" if self.path == "/text" else encoded("PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(content) * (2 if self.path == "/cut" else 1)))
        self.end_headers()
        if self.path == "/slow":
            for byte in content:
                threading.Event().wait(0.05)
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return
            return
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_picture_is_fetched_whatever_the_server_calls_it(site):
    assert open_picture(f"{site}/a b?ä=1").format == "PNG"


def test_redirects_to_http_are_followed(site):
    assert open_picture(f"{site}/redirect?{site}/x").size == (64, 48)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirects_elsewhere_are_refused(site, target):
    text = problem(f"{site}/redirect?{target}")
    assert "neither http nor https" in text or "is not allowed" in text


def test_endless_redirects_end(site):
    assert "the server answers 302" in problem(f"{site}/redirect?/redirect?/redirect")


def test_a_missing_page_tells_the_servers_answer(site):
    assert "the server answers 404" in problem(f"{site}/missing")


def test_an_address_that_gives_text_is_no_picture(site):
    assert "no picture: found text" in problem(f"{site}/text")


def test_a_download_that_breaks_off_is_told(site):
    assert "cannot be fetched" in problem(f"{site}/cut")


def test_a_download_over_the_limit_is_ended(site):
    assert "more than the 1000 bytes allowed" in problem(f"{site}/x", max_bytes=1000)


def test_a_download_that_takes_too_long_is_ended(site):
    with pytest.raises(ImageError, match=r"/slow: cannot be fetched \(not finished after 0.3 seconds\)"):
        fetch(f"{site}/slow", max_bytes=10**6, timeout=0.3)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.jpg", "http://[broken/x.jpg", "http:///x.jpg", "https://"])
def test_addresses_that_lead_nowhere_are_told(address):
    assert problem(address).startswith(f"{address}: cannot be fetched")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://example.org/x.jpg", "s3://bucket/x.jpg"])
def test_other_schemes_are_refused(address):
    assert "only http and https addresses are fetched" in problem(address)
