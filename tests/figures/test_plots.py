"""Numbers of a data set, counted by hand, and plots of them that can be read whatever the data."""

import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from showtell.data.dataset import Dataset
from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import MissingExtraError
from showtell.figures import counts as module
from showtell.figures.counts import Counts, count
from showtell.figures.plots import draw_plots
from showtell.figures.style import figure_bytes, plotting

SOME = Counts(
    name="photos",
    split=None,
    pictures={"train": 8, "val": 1, "test": 1},
    captions=Counter({5: 9, 4: 1}),
    lengths=Counter({8: 20, 9: 20, 12: 9}),
    words=Counter({"a": 90, "dog": 20, "runs": 4, "犬": 1}),
    sizes=((500, 375),) * 6 + ((375, 500),) * 4,
    unread=0,
)


def varied(**changes) -> Counts:
    return Counts(**{name: getattr(SOME, name) for name in SOME.__dataclass_fields__} | changes)


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in {"0.png": (40, 30), "1.png": (30, 40), "2.png": (40, 30)}.items():
        Image.new("RGB", size).save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(folder / "3.jpg", exif=exif)
    (folder / "4.png").write_bytes(b"")
    rows = ["0.png,A dog.,train", "0.png,A red dog,train", "1.png,Dogs,train", "2.png,A cat,val", "3.jpg,A,test"]
    (folder / "t.csv").write_text("image,caption,split\n" + "\n".join([*rows, "4.png,Nothing,test"]) + "\n")
    return folder


def test_counts_are_those_of_the_data_set(data):
    dataset = read_dataset(data)
    done = []
    found = count(dataset, dataset.examples, progress=done.append)
    assert found.pictures == {"train": 2, "val": 1, "test": 2}
    assert found.captions == {2: 1, 1: 4}
    assert found.lengths == {2: 2, 3: 1, 1: 3}
    assert found.words == {"a": 4, "dog": 2, "red": 1, "dogs": 1, "cat": 1, "nothing": 1}
    assert Counter(found.sizes) == {(40, 30): 2, (30, 40): 2}  # one of them turned by the camera
    assert found.unread == 1
    assert found.top[:2] == [("a", 4), ("dog", 2)]
    assert found.headline == "5 pictures, 6 captions, 6 different words"
    assert sum(done) == 5


def test_counts_of_a_split_are_its_own_beside_the_pictures_of_all(data):
    dataset = read_dataset(data)
    found = count(dataset, dataset.of_split("val"), "val")
    assert found.pictures == {"train": 2, "val": 1, "test": 2}
    assert found.words == {"a": 1, "cat": 1}
    assert found.headline == "1 pictures of val, 1 captions, 2 different words"


def test_only_a_sample_of_many_pictures_is_measured(data, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 2)
    dataset = read_dataset(data)
    found = count(dataset, dataset.examples)
    assert len(found.sizes) + found.unread == 2
    assert found.captions.total() == 5


def test_most_frequent_words_of_one_count_stand_by_alphabet():
    found = varied(words=Counter({"b": 3, "a": 3, "c": 4} | {f"w{i:02d}": 1 for i in range(50)}))
    assert [word for word, _ in found.top[:4]] == ["c", "a", "b", "w00"]
    assert len(found.top) == module.TOP


def panels(counts: Counts) -> dict:
    with plotting("--plots", counts.texts):
        figure = draw_plots(counts)
    return {axes.get_title(loc="left").split(" ")[0]: axes for axes in figure.axes}


def test_bars_are_as_high_as_the_counts():
    drawn = panels(SOME)
    assert [bar.get_width() for bar in drawn["Pictures"].patches] == [1, 1, 8]  # from below: test, val, train
    lengths = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in drawn["Words"].patches}
    assert lengths == {8: 20, 9: 20, 10: 0, 11: 0, 12: 9}
    assert {bar.get_height() for bar in drawn["Captions"].patches} == {1, 9}
    assert [bar.get_width() for bar in drawn["Most"].patches] == [1, 4, 20, 90]
    assert sum(bar.get_height() for bar in drawn["Proportions"].patches) == 10


def test_words_are_ranked_by_their_times_and_the_frequent_ones_counted():
    axes = panels(SOME)["How"]
    ranks, times = axes.lines[0].get_data()
    assert list(ranks) == [1, 2, 3, 4]
    assert list(times) == [90, 20, 4, 1]
    assert [text.get_text() for text in axes.texts] == ["2 words occur\n5 times or more"]


def test_a_caption_of_a_novels_length_does_not_press_all_others_together():
    axes = panels(varied(lengths=Counter({**dict.fromkeys(range(5, 25), 900), 40_000: 3})))["Words"]
    assert axes.get_xlim()[1] < 60
    assert sum(bar.get_height() for bar in axes.patches) == 18_003
    assert [text.get_text() for text in axes.texts] == ["the last bar holds\nall up to 40,000"]


draw_words = random.Random(1)
MANY = Counter({"".join(draw_words.choices("abcdefgh", k=9)): 1 + 200_000 // i**2 for i in range(1, 3000)})
CASES = {
    "usual": SOME,
    "large": varied(
        name="a name that goes on and on " * 9,
        pictures={"train": 566_747, "val": 25_010, "test": 25_010, "none": 1_000_000},
        captions=Counter({5: 616_000, 6: 312, 7: 12}),
        lengths=Counter({i: 10**6 // (1 + (i - 11) ** 2) for i in range(1, 60)}),
        words=MANY,
        sizes=(*tuple((640, 400 + i) for i in range(90)), (4000, 3000)),
    ),
    "small": varied(
        pictures={"none": 1},
        captions=Counter({1: 1}),
        lengths=Counter({1: 1}),
        words=Counter({"a": 1}),
        sizes=((1, 1),),
    ),
    "without words": varied(lengths=Counter(), words=Counter(), captions=Counter({0: 3})),
    "without pictures": varied(sizes=(), unread=10),
    "odd sizes": varied(sizes=((1, 1), (20_000, 3), (3, 20_000))),
    "long words": varied(words=Counter({f"{i}" + "w" * 90: 50 - i for i in range(30)})),
    "other scripts": varied(
        words=Counter({"犬": 9, "собака": 8, "كلب": 7, "$x_1^2$": 6, "a\u200db\u2066": 5, "🐶": 4})
    ),
    "all frequent": varied(words=Counter({f"w{i}": 1000 for i in range(30)})),
    "few frequent": varied(words=Counter({f"w{i}": 1 + 99 * (i < 3) for i in range(5000)})),
}


@pytest.mark.parametrize("name", CASES)
def test_no_text_is_cut_or_covered(name):
    from drawn_texts import unreadable

    with plotting("--plots", CASES[name].texts):
        assert unreadable(draw_plots(CASES[name])) == []


def test_plots_are_the_same_to_the_byte_whatever_the_users_settings(tmp_path):
    import matplotlib

    def drawn() -> bytes:
        with plotting("--plots", SOME.texts):
            return figure_bytes(draw_plots(SOME))

    first = drawn()
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9}):
        assert drawn() == first
        assert matplotlib.rcParams["font.size"] == 30
    assert b"tEXt" not in first
    assert b"tIME" not in first


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    message = r"`--plots` needs matplotlib: pip install 'showtell\[train\]'"
    with pytest.raises(MissingExtraError, match=message), plotting("--plots"):
        pass


def test_a_data_set_of_no_split_at_all_is_counted():
    examples = (Example(id="x", image=Path("gone.png"), captions=("One", "two words")),)
    found = count(Dataset(root=Path(), format="csv", files=(), examples=examples), examples)
    assert found.pictures == {"none": 1}
    assert found.unread == 1
