"""Requests that nobody means well: broken and lying pictures, broken forms and JSON; always the same ones."""

import base64
import json
import random
import struct
import zlib
from io import BytesIO

from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO", "JPEG2000")
BOUNDARY = "frontier"
WORDS = (
    "",
    " ",
    "\0",
    "../../etc/passwd",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "\ud7ff\U0001f600",
    "A" * 3000,
    "%s%n",
)
NUMBERS = (-1, 0, 1, 2, 17, 1e308, -1e-308, float("nan"), float("inf"), 2**63, 10**30, True, None, "3", [3], {"a": 3})
FIELDS = (
    "num_captions",
    "beam_width",
    "temperature",
    "top_p",
    "top_k",
    "max_words",
    "seed",
    "attention",
    "model",
    "url",
)
FIELDS += ("sample", "min_words", "length_penalty", "beam_groups", "diversity", "__class__", "image", "")


def bomb(width, height):
    """A PNG that says it is this large, and is a few hundred bytes."""
    pixels = zlib.compress(b"\0" * 100_000, 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def seeds():
    """Whole pictures of every format, and things that are none."""
    found = []
    for form in FORMATS:
        for mode in ("RGB", "L", "P", "RGBA", "1"):
            stream = BytesIO()
            try:
                Image.radial_gradient("L").resize((40, 30)).convert(mode).save(stream, form)
            except (OSError, ValueError, KeyError):
                continue  # not every format has every mode, and not every build of Pillow every format
            found.append(stream.getvalue())
    found += [
        bomb(*size) for size in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 0), (7_000, 7_000), (1, 40_000_000))
    ]
    found += [
        b"",
        b"\0" * 5000,
        b"%PDF-1.7",
        b"PK\x03\x04" + b"\0" * 100,
        b"<svg onload=alert(1)>",
        b"GIF89a",
        b"\xff\xd8\xff",
    ]
    return found


def mutated(content, chance):
    """The same with bytes changed, cut, doubled or mixed."""
    data = bytearray(content)
    for _ in range(chance.randint(0, 4)):
        if not data:
            break
        place = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place : place + 4] = struct.pack(">I", chance.choice((0, 1, 2**31, 2**32 - 1)))
        elif kind == 3:
            data[place:place] = data[: chance.randrange(200)]
        else:
            data[place] = chance.randrange(256)
    return bytes(data)


def values(chance):
    """Options with likely names and unlikely values."""
    return {chance.choice(FIELDS): chance.choice((*NUMBERS, *WORDS)) for _ in range(chance.randint(0, 4))}


def form(chance, pictures):
    """A multipart body, often broken."""
    lines = []
    for name, value in values(chance).items():
        lines += [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{name}"', "", str(value)]
    head = "\r\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
    body = b""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 20))):
        name = chance.choice((b"image", b"file", b"", b"../x", b"a\0b"))
        body += b"--frontier\r\nContent-Disposition: form-data; name=image; filename=" + name + b"\r\n"
        body += b"Content-Type: image/png\r\n\r\n" + mutated(chance.choice(pictures), chance) + b"\r\n"
    whole = head + body + b"--frontier--\r\n"
    return mutated(whole, chance) if chance.random() < 0.3 else whole


def text(chance, pictures):
    """A JSON body, often broken."""
    table = values(chance)
    if chance.random() < 0.8:
        table["image"] = base64.b64encode(mutated(chance.choice(pictures), chance)).decode()
        if chance.random() < 0.2:
            table["image"] = ["data:image/png;base64," + table["image"]] * chance.choice((1, 3, 17))
    if chance.random() < 0.2:
        address = f"data:;base64,{table.get('image')}"
        content = [{"type": "image_url", "image_url": {"url": address}}, chance.choice((*NUMBERS, *WORDS))]
        table = {"messages": [{"role": chance.choice(("user", *WORDS)), "content": content}], **table}
    body = json.dumps(table).encode()
    return mutated(body, chance) if chance.random() < 0.3 else body


def hostile_requests(count, seed=0):
    """`count` requests: method, path, headers, body."""
    chance = random.Random(seed)
    pictures = seeds()
    for _ in range(count):
        path = chance.choice(("/v1/captions",) * 4 + ("/model/predict", "/v1/chat/completions"))
        if chance.random() < 0.03:
            yield "GET", "/wowme", {}, b""
        elif chance.random() < 0.55 and "chat" not in path:
            yield "POST", path, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, form(chance, pictures)
        else:
            yield "POST", path, {"Content-Type": "application/json"}, text(chance, pictures)
