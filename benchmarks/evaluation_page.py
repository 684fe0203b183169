"""The page of `showtell evaluate --page` with 1,000 pictures in Chromium, from a file, offline: open in under 2 s.

    python benchmarks/evaluation_page.py [PAGE]

Without PAGE, the folder of a page that is there, one is made: the embedded model captions 1,000 distinct photos of 640
x 480, cut from the pictures in scikit-image's wheel (about a minute). A visit counts from the start of the navigation
until the first pictures stand in the window, decoded, and the page has answered to the search field; each is by a new
browser, with nothing kept from the last. The median of seven visits counts. Beside it, in turn: the same pictures and
texts as one plain list in HTML, without any script, until its first pictures stand in the window and all of it is
parsed.
"""

import csv
import html
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from common import Row, machine, make_photos, report, run, showtell, two_cores

PICTURES = 1000
VISITS = 7
SECONDS = 2.0
REFERENCES = 5
# Resolves, in a frame's time, to the milliseconds since the navigation began when what is in the window is there.
SHOWN = """() => new Promise((resolve) => {
    const look = () => {
        const inside = [...document.images].filter((image) => image.getBoundingClientRect().top < innerHeight);
        const ready = document.readyState !== "loading" && inside.length && inside.every((image) => image.complete);
        if (ready) Promise.all(inside.map((image) => image.decode())).then(() => resolve(performance.now()));
        else requestAnimationFrame(look);
    };
    look();
})"""
# Types a word: milliseconds until the list is laid out anew.
SEARCH = """(word) => {
    const field = document.getElementById("search");
    const began = performance.now();
    field.value = word;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect();
    return performance.now() - began;
}"""


def main() -> int:
    two_cores()
    chromium = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not chromium:
        raise SystemExit("Chromium is missing; on Debian and Ubuntu: apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else make_page(Path(folder))
        plain = write_plain(page, Path(folder))
        ours: list[float] = []
        theirs: list[float] = []
        searches: list[float] = []
        for _ in range(VISITS):
            shown, search = visit(chromium, page / "index.html", search=True)
            ours.append(shown + search)
            searches.append(search)
            theirs.append(visit(chromium, plain, search=False)[0])
        size = sum(path.stat().st_size for path in page.rglob("*") if path.is_file())
        count = len(data_of(page)["pictures"])
    return report(
        f"page of {count:,} pictures, {VISITS} visits; {machine(run([chromium, '--version']).out.strip())}",
        [
            Row("pictures shown, search answered, median", median(ours), "s", SECONDS),
            Row("slowest visit", max(ours), "s", SECONDS),
            Row("of that the search, median", 1000 * median(searches), "ms"),
            Row("one plain list in HTML, median", median(theirs), "s"),
            Row("size of the page", size / 1e6, "MB"),
        ],
    )


def make_page(folder: Path) -> Path:
    """The page of the embedded model on generated photos, each with as many references as Flickr8k and COCO have."""
    data = folder / "photos"
    photos = make_photos(data, PICTURES)
    with (data / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image", "caption", "split"))
        for number, photo in enumerate(photos):
            for reference in range(REFERENCES):
                words = (
                    f"a cut of another picture, number {number} of a thousand, told in {reference + 8} words by hand"
                )
                rows.writerow((photo.name, words, "test"))
    run([showtell(), "evaluate", "--data", data, "--page", folder / "page"])
    return folder / "page"


def data_of(page: Path) -> Any:
    script = (page / "data.js").read_text(encoding="ascii")
    return json.loads(script.removeprefix("window.showtellPage = ").removesuffix(";\n"))


def write_plain(page: Path, folder: Path) -> Path:
    """The peer: what a loop over pictures would write."""
    items = []
    for number, picture in enumerate(data_of(page)["pictures"]):
        source = (page / "pictures" / f"{number:05d}.jpg").as_uri()
        texts = ["".join(picture["words"]), *picture["references"], " ".join(map(str, picture["scores"]))]
        items.append(f'<li><img src="{source}" width=480>' + "".join(f"<p>{html.escape(text)}</p>" for text in texts))
    plain = folder / "plain.html"
    plain.write_text("<!doctype html><meta charset=utf-8><title>plain</title><ol>" + "\n".join(items), encoding="utf-8")
    return plain


def visit(chromium: str, address: Path, *, search: bool) -> tuple[float, float]:
    """Open a page in a new browser: seconds until it is shown, and those of a search."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("playwright is missing: pip install -e '.[dev]'") from None
    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=chromium, headless=True, args=arguments)
        page = browser.new_context(offline=True, viewport={"width": 1400, "height": 900}).new_page()
        page.goto(address.as_uri(), wait_until="commit")
        shown = float(page.evaluate(SHOWN)) / 1000
        searched = float(page.evaluate(SEARCH, "a")) / 1000 if search else 0.0
        browser.close()
    return shown, searched


if __name__ == "__main__":
    sys.exit(main())
