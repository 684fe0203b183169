"""A captioner whose stages can be held up, and which remembers what it was given."""

import threading

import numpy as np

from showtell.caption import Caption
from showtell.captioner import Captioner
from showtell.decoding.options import DecodeOptions
from showtell.errors import ShowtellError
from showtell.images import ImageOptions, read_pixels

NAMES = ("red", "green", "blue")


class GatedModel:
    """Says the strongest colour of a picture and the beam width, such as "red 3". Every gate is open at first."""

    def __init__(self):
        self.images = ImageOptions(size=4)
        self.decoding = DecodeOptions(beam_width=3, max_words=6)
        self.encoding, self.reading = threading.Event(), threading.Event()
        self.encoding.set()
        self.reading.set()
        self.held_beam, self.beam = 0, threading.Event()  # decoding with this beam width waits for this event
        self.held = threading.Event()  # it does
        self.batches, self.decoded, self.began = [], [], threading.Event()
        self.failing = False

    def words(self, caption):
        return caption.split()

    def read(self, source):
        if source.width > 100:
            assert self.reading.wait(20)
        return read_pixels(source, self.images)

    def encode(self, pixels):
        self.began.set()
        assert self.encoding.wait(20)
        if self.failing:
            raise ShowtellError("/secret/path: the weights are damaged")
        means = pixels.mean((1, 2))  # (B, 3)
        self.batches.append([NAMES[int(row.argmax())] for row in means])
        return means[:, None]

    def search(self, options, *, attention):
        return GatedSearch(self, options.beam_width)

    def captioner(self):
        return Captioner(self)


class GatedSearch:
    """Decodes a picture in two steps, of which the second can be held up."""

    def __init__(self, model, beam_width):
        self.model, self.beam_width = model, beam_width
        self.colours, self.steps = {}, {}

    def __len__(self):
        return len(self.colours)

    def add(self, regions, names, picture_keys):
        self.colours |= {name: NAMES[int(np.argmax(row))] for name, row in zip(names, regions, strict=True)}
        self.steps |= dict.fromkeys(names, 0)

    def step(self):
        if self.beam_width == self.model.held_beam:
            self.model.held.set()
            assert self.model.beam.wait(20)
        self.model.decoded.append((len(self.colours), self.beam_width))
        for name in self.colours:
            self.steps[name] += 1
        return [(name, self.captions(self.colours.pop(name))) for name in list(self.colours) if self.steps[name] == 2]

    def captions(self, colour):
        text = f"{colour} {self.beam_width}"
        return [Caption("", text, tuple(text.split()), -1.0, -0.5, None, (-0.5, -0.25, -0.25))]
