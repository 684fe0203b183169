"""The page of the server in a browser: pictures come in every way, captions come out, offline and for everyone."""

import csv
import io
import re
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

expect = playwright.expect
DESK = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
KEY = "a-key-of-this-test"
SMALL_BODY = 100_000  # bytes that the second server takes
HOSTILE = "<img src=x onerror=hacked=1> \"'&.png"
LONG = "donaudampfschiff" * 12 + ".png"
SLOW = 20_000  # milliseconds; a busy machine is slow


@contextmanager
def serving(captioners, **options):
    """The server on a port of its own, as `showtell serve` runs it; its address."""
    from showtell.server.app import create_app
    from showtell.server.options import ServeOptions

    app = create_app(ServeOptions(threads=1, **options), captioners)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        socket.close()


@pytest.fixture(scope="module")
def address(captioner):
    """Of a server of two models: the tiny bundle, and the embedded one."""
    from showtell import Captioner
    from showtell.model_folder import EMBEDDED

    models = {"tiny": captioner}
    if (EMBEDDED / "manifest.json").is_file():
        models["pocket"] = Captioner.load(threads=1)
    with serving(models) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(captioner):
    """Of a server that asks for a key and takes small files only."""
    with serving({"tiny": captioner}, api_keys=(KEY,), max_body_bytes=SMALL_BODY) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def view(browser, tmp_path):
    """Open the page: nothing may come from elsewhere, and no error be told but answers of the server that are due.

    It is closed before `tmp_path` is removed: the browser reads its pictures when it likes.
    """
    opened = []

    def run(address, refusals=(), **how):
        context = browser.new_context(accept_downloads=True, **(DESK | how))
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        page = context.new_page()
        page.set_default_timeout(SLOW)
        expect.set_options(timeout=SLOW)
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
        page.goto(address)
        opened.append((context, address, asked, errors, refusals))
        return page

    yield run
    for context, address, asked, errors, refusals in opened:
        context.close()
        assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []
        assert [text for text in errors if not any(refusal in text for refusal in refusals)] == []


def ready(page):
    expect(page.locator("#version")).to_have_text(re.compile(r"showtell \d"))
    return page


@pytest.fixture
def picture(tmp_path):
    """Make a picture file of a colour whose lower right quarter is the brightest."""

    def make(name="red.png", colour=(200, 30, 30), size=(120, 80)):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[:] = np.array(colour) // 2
        pixels[size[1] // 2 :, size[0] // 2 :] = np.minimum(np.array(colour) * 5 // 4, 255)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return make


def captions(page):
    return page.locator(".best .words").all_inner_texts()


def captioned(page, count=1):
    expect(page.locator("article[aria-busy=false] .best")).to_have_count(count)
    return page


def give(page, *paths):
    page.locator("#files").set_input_files([str(path) for path in paths])


def slide(page, name, value):
    """Move a slider as a hand does: the browser tells the page of it."""
    page.get_by_role("slider", name=name).fill(str(value))


def warmth(page, x, y):
    """Red, green, blue and opacity, 0..255, of the map that is shown, at a place in shares of it."""
    code = """([x, y]) => { const c = document.querySelector("canvas.shown");
        return [...c.getContext("2d").getImageData(x * c.width, y * c.height, 1, 1).data] }"""
    return page.evaluate(code, [x, y])


# -- The ways in ------------------------------------------------------------------------------------------------------


def test_a_picture_that_is_chosen_gets_a_caption(view, address, picture):
    page = ready(view(address))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files(picture())
    captioned(page)
    assert captions(page) == ["A red picture."]
    assert page.get_by_role("article", name="red.png").is_visible()
    assert page.locator("img").evaluate("image => image.naturalWidth") == 120
    assert "%" in page.locator(".best .sure").inner_text()
    expect(page.locator("#said")).to_have_text("A red picture.")  # for who listens


def test_a_picture_is_pasted(view, address):
    page = ready(view(address))
    page.evaluate(
        """async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 60, height: 40 });
        const context = canvas.getContext("2d");
        context.fillStyle = "rgb(0, 0, 230)";
        context.fillRect(0, 0, 60, 40);
        const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
        await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    }"""
    )
    page.keyboard.press("Control+V")
    captioned(page)
    assert captions(page) == ["A blue picture."]


def test_what_is_pasted_and_holds_no_picture_is_told(view, address):
    page = ready(view(address))
    page.evaluate("() => navigator.clipboard.writeText('only words')")
    page.keyboard.press("Control+V")
    expect(page.locator("#toast")).to_have_text("There is no picture in what was pasted.")
    assert page.locator("article").count() == 0


def drop(page, *paths):
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    page.evaluate("() => addEventListener('drop', (event) => { window.kept = event.defaultPrevented; })")
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": data})
        if kind == "dragOver":
            expect(page.locator("#curtain")).to_be_visible()
    assert page.evaluate("window.kept")  # or the browser would leave the page and show the file


def test_pictures_are_dropped_anywhere(view, address, picture):
    page = ready(view(address))
    drop(page, picture("a.png"), picture("b.png", (20, 200, 20)))
    captioned(page, 2)
    assert captions(page) == ["A red picture.", "A green picture."]
    expect(page.locator("#curtain")).not_to_be_visible()


def test_a_folder_that_is_dropped_gives_its_pictures_in_order(view, address, picture, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    for number in (10, 9):
        picture(f"album/{number}.png")
    page = ready(view(address))
    drop(page, folder)
    captioned(page, 2)
    assert page.locator("h3").all_inner_texts() == ["album/9.png", "album/10.png"]


def test_a_photo_is_taken_with_the_camera(view, address):
    page = ready(view(address))
    page.get_by_role("button", name="Take a photo").click()
    dialog = page.get_by_role("dialog", name="Take a photo")
    expect(dialog).to_be_visible()
    playing = "view => view.videoWidth || new Promise((done) => { view.onplaying = () => done(view.videoWidth); })"
    assert page.locator("#view").evaluate(playing) > 0
    dialog.get_by_role("button", name="Take it").click()
    captioned(page)
    assert re.fullmatch(r"Photo [\d. -]+\.jpg", page.locator("h3").inner_text())
    assert page.locator("#view").evaluate("view => view.srcObject") is None  # the camera is off again
    page.get_by_role("button", name="Take a photo").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


# -- Words ------------------------------------------------------------------------------------------------------------


def test_pointing_at_a_word_lays_its_attention_over_the_picture(view, address, picture):
    page = ready(view(address, refusals=["willReadFrequently"]))  # a word on the test's own reading
    give(page, picture())
    captioned(page)
    word = page.locator(".best .word").nth(1)
    word.hover()
    expect(page.locator("canvas.shown")).to_have_count(1)
    bright, dark = warmth(page, 0.9, 0.9), warmth(page, 0.1, 0.1)
    assert bright[0] > 200  # warm
    assert max(dark[:3]) < bright[0] - 50  # cooler and darker
    assert page.locator("canvas").bounding_box() == page.locator(".inner").bounding_box()
    assert re.fullmatch(r"“red” [\d.]+\s%, most attention at the lower right", page.locator(".best .sure").inner_text())
    page.mouse.move(5, 5)
    expect(page.locator("canvas.shown")).to_have_count(0)
    assert "the sentence" in page.locator(".best .sure").inner_text()


def test_each_word_has_a_map_of_its_own(view, address, picture):
    page = ready(view(address))
    if page.locator("#model option").count() < 2:
        pytest.skip("no embedded model in this tree")
    page.get_by_label("Model").select_option("pocket")
    give(page, picture(size=(300, 200)))
    captioned(page)
    maps = set()
    words = page.locator(".best .word")
    for i in range(words.count()):
        words.nth(i).hover()
        expect(words.nth(i)).to_have_class(re.compile("shown"))
        expect(page.locator("canvas.shown")).to_have_count(1)
        maps.add(page.locator("canvas.shown").evaluate("canvas => canvas.toDataURL()"))
    assert len(maps) == words.count() > 2


def test_the_keyboard_reaches_every_word_and_each_is_told(view, address, picture):
    page = ready(view(address))
    give(page, picture())
    captioned(page)
    page.get_by_role("button", name="Remove red.png").focus()
    page.keyboard.press("Tab")
    expect(page.locator("canvas.shown")).to_have_count(1)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "picture"
    expect(page.locator("#said")).to_have_text("picture: most attention at the lower right")
    page.keyboard.press("Tab")  # one stop for the whole caption
    assert page.evaluate("document.activeElement.textContent") == "Copy alt text"
    expect(page.locator("canvas.shown")).to_have_count(0)


def test_a_tap_shows_a_word_and_a_second_tap_hides_it(view, address, picture):
    page = ready(view(address, **PHONE))
    give(page, picture())
    captioned(page)
    word = page.locator(".best .word").nth(1)
    word.tap()
    expect(page.locator("canvas.shown")).to_have_count(1)
    expect(word).to_have_attribute("aria-pressed", "true")
    word.tap()
    expect(page.locator("canvas.shown")).to_have_count(0)


def test_a_word_is_let_go_though_another_picture_was_captioned_meanwhile(view, address, picture):
    page = ready(view(address))
    give(page, picture("a.png"))
    captioned(page)
    held = []
    page.route("**/v1/captions", lambda route: held.append(route))
    give(page, picture("b.png"))
    expect(page.locator(".wait")).to_have_text("Looking at it …")
    page.locator(".best .word").nth(1).hover()
    expect(page.locator("canvas.shown")).to_have_count(1)
    held.pop().continue_()
    captioned(page, 2)
    expect(page.locator("canvas.shown")).to_have_count(1)
    page.mouse.move(5, 5)
    expect(page.locator("canvas.shown")).to_have_count(0)


def test_a_map_lies_over_the_part_that_the_encoder_saw(view, tmp_path, picture):
    from showtell import Captioner
    from showtell.images import ImageOptions
    from tiny_bundle import SIZE, build_tiny_bundle

    images = ImageOptions(size=SIZE, interpolation="bilinear", fit="crop")
    cropping = Captioner.load(build_tiny_bundle(tmp_path / "crop", images=images), threads=1)
    with serving({"crop": cropping}) as address:
        page = ready(view(address, refusals=["willReadFrequently"]))
        give(page, picture(size=(200, 100)))
        captioned(page)
        page.locator(".word").first.hover()
        expect(page.locator("canvas.shown")).to_have_count(1)
        assert warmth(page, 0.7, 0.9)[0] > 200  # the lower right of the square in the middle
        assert warmth(page, 0.9, 0.9) == [0, 0, 0, 204]  # cut off, not seen at all
        page.close()


# -- Sliders ----------------------------------------------------------------------------------------------------------


# Playwright does not tell a form that holds a file: the page's own `fetch` does.
WATCH = """() => {
    const send = window.fetch;
    window.asked = [];
    window.fetch = (address, request) => {
        const fields = [...(request?.body instanceof FormData ? request.body : [])];
        const texts = fields.filter(([, value]) => typeof value === "string");
        if (fields.length) window.asked.push(Object.fromEntries(texts));
        return send(address, request);
    };
}"""


def asked(page, act):
    """The fields of the next form that is sent, besides the picture."""
    before = page.evaluate(f"() => {{ window.asked ?? ({WATCH})(); return window.asked.length; }}")
    with page.expect_request("**/v1/captions"):
        act()
    return page.evaluate("number => window.asked[number]", before)


def test_sliders_change_what_is_asked_and_pictures_are_captioned_anew(view, address, picture):
    page = ready(view(address))
    give(page, picture())
    captioned(page)
    assert asked(page, lambda: slide(page, "Captions for each picture", 4)) == {
        "num_captions": "4", "beam_width": "4", "temperature": "0", "attention": "true", "model": "tiny",
    }  # fmt: skip
    expect(page.locator(".others > li")).to_have_count(3)
    sent = asked(page, lambda: slide(page, "Beam width", 2))
    assert sent["beam_width"] == sent["num_captions"] == "2"
    expect(page.locator(".others > li")).to_have_count(1)
    sent = asked(page, lambda: slide(page, "Temperature", 1.5))
    assert sent["temperature"] == "1.5"
    assert "beam_width" not in sent
    expect(page.get_by_role("slider", name="Beam width")).to_be_disabled()
    captioned(page)
    again = asked(page, lambda: page.get_by_role("button", name="Draw again").click())
    assert again == sent | {"seed": again["seed"]}
    assert again["seed"] != sent["seed"]
    captioned(page)


def test_another_caption_takes_the_place_of_the_first(view, address, picture):
    page = ready(view(address))
    slide(page, "Captions for each picture", 3)
    give(page, picture())
    captioned(page)
    other = page.locator(".others .words").first.inner_text()
    page.locator(".others button").first.click()
    assert captions(page) == [other]
    assert page.locator(".others .words").first.inner_text() == "A red picture."
    page.get_by_role("button", name="Copy alt text").click()
    assert page.evaluate("() => navigator.clipboard.readText()") == other


# -- Out again --------------------------------------------------------------------------------------------------------


def test_a_caption_is_copied_as_alt_text_and_as_html(view, address, picture):
    page = ready(view(address))
    give(page, picture('my "red" & blue.png'))
    captioned(page)
    page.get_by_role("button", name="Copy alt text").click()
    expect(page.locator("#toast")).to_have_text("Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == "A red picture."
    page.get_by_role("button", name="Copy HTML").click()
    html = '<img src="my%20%22red%22%20%26%20blue.png" alt="A red picture." width="120" height="80">'
    expect(page.get_by_role("button", name="Copy HTML")).to_have_class("done")
    assert page.evaluate("() => navigator.clipboard.readText()") == html


def test_copying_works_where_the_browser_gives_no_clipboard(view, address, picture):
    page = ready(view(address))
    give(page, picture())
    captioned(page)
    page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy alt text").click()
    expect(page.locator("#toast")).to_have_text("Copied.")
    assert page.evaluate("document.activeElement.textContent") == "Copy alt text"


def test_several_pictures_are_counted_and_exported_as_csv(view, address, picture, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    page = ready(view(address, refusals=["400 (Bad Request)"]))
    slide(page, "Captions for each picture", 2)
    give(page, picture("=1+1.png"), broken, picture('a "b", c.png', (20, 20, 200)))
    captioned(page, 2)
    expect(page.locator("#tally")).to_have_text("2 of 3 pictures captioned, 1 failed")
    expect(page.locator("#meter")).not_to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    assert download.value.suggested_filename == "captions.csv"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # so that Excel reads UTF-8
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [(row["file"], row["rank"]) for row in rows] == [
        ("'=1+1.png", "1"), ("'=1+1.png", "2"), ("broken.jpg", ""), ('a "b", c.png', "1"), ('a "b", c.png', "2"),
    ]  # fmt: skip
    assert rows[0]["caption"] == "A red picture."
    assert rows[3]["caption"] == "A blue picture."
    assert 0 < float(rows[0]["probability"]) < 1
    assert {row["model"] for row in rows} == {"tiny"}
    assert "cannot be read as a picture" in rows[2]["error"]
    assert not rows[2]["caption"]


def test_work_is_stopped_and_taken_up_again(view, address, picture):
    page = ready(view(address))
    held = []
    page.route("**/v1/captions", lambda route: held.append(route))  # never answered
    give(page, *(picture(f"{i}.png") for i in range(7)))
    expect(page.locator("#tally")).to_have_text("0 of 7 pictures captioned")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".body > .trouble")).to_have_count(7)
    assert len(held) == 4  # no more are sent at once
    page.unroute("**/v1/captions")
    page.get_by_role("button", name="Try 6.png again").click()
    captioned(page)
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("article")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "choose"


# -- When something is wrong ------------------------------------------------------------------------------------------


def test_a_broken_file_is_told_in_plain_words_beside_its_picture(view, address, picture, tmp_path):
    broken = tmp_path / "holiday.jpg"
    broken.write_bytes(picture("whole.jpg").read_bytes()[:300])
    page = ready(view(address, refusals=["400 (Bad Request)"]))
    give(page, broken, picture())
    captioned(page)
    card = page.get_by_role("article", name="holiday.jpg")
    assert card.locator(".trouble").inner_text().startswith("This file cannot be read as a picture: ")
    assert card.get_by_role("button", name="Try").count() == 0  # it would not help
    assert str(tmp_path) not in card.inner_text()
    assert captions(page) == ["A red picture."]


def test_a_server_that_is_busy_is_asked_again(view, address, picture):
    page = ready(view(address, refusals=["503 (Service Unavailable)"]))
    answers = [503]

    def answer(route):
        if answers:
            route.fulfill(status=answers.pop(), headers={"Retry-After": "1"}, json={"detail": "the queue is full"})
        else:
            route.continue_()

    page.route("**/v1/captions", answer)
    give(page, picture())
    expect(page.locator(".wait")).to_have_text(re.compile("^The server is busy; asking again in [12] s$"))
    captioned(page)


def test_a_server_that_is_gone_is_told_and_asked_again(view, address, picture):
    page = ready(view(address, refusals=["net::ERR_CONNECTION_REFUSED"]))
    page.route("**/v1/captions", lambda route: route.abort("connectionrefused"))
    give(page, picture())
    expect(page.get_by_role("alert").filter(has_text="The server cannot be reached")).to_be_visible()
    page.unroute("**/v1/captions")
    page.locator("#again").click()
    captioned(page)
    expect(page.locator("#away")).not_to_be_visible()


def test_a_key_is_asked_for_where_the_server_wants_one(view, guarded, picture):
    page = view(guarded, refusals=["401 (Unauthorized)"])
    field = page.get_by_label("This server asks for a key")
    expect(field).to_be_focused()
    give(page, picture())
    expect(page.locator(".body > .trouble")).to_have_text("The server asks for a key.")
    field.fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#key-trouble")).to_have_text("The server does not know this key.")
    field.fill(KEY)
    field.press("Enter")
    captioned(page)
    expect(field).not_to_be_visible()
    page.reload()
    ready(page)
    expect(field).not_to_be_visible()  # kept until the tab is closed


def test_a_file_that_is_too_large_is_not_even_sent(view, guarded, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    page = view(guarded, refusals=["401 (Unauthorized)"])
    page.get_by_label("This server asks for a key").fill(KEY)
    page.get_by_role("button", name="Use this key").click()
    ready(page)
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    give(page, tmp_path / "noise.png")
    expect(page.locator(".body > .trouble")).to_have_text("The file has 0.3 MB, this server takes up to 0.1 MB.")
    assert "POST" not in sent


# -- For everyone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [DESK, PHONE | {"color_scheme": "dark"}, DESK | {"color_scheme": "dark"}, PHONE])
def test_axe_finds_no_violation(view, address, picture, tmp_path, how):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    page = ready(view(address, refusals=["400 (Bad Request)"], **how))

    def check():
        result = axe.Axe().run(page)
        assert result.violations_count == 0, result.generate_report()

    check()
    page.evaluate("document.getElementById('options').open = true")
    slide(page, "Captions for each picture", 2)
    give(page, picture())
    captioned(page)
    page.locator(".best .word").nth(1).click()  # pressed
    expect(page.locator("canvas.shown")).to_have_css("opacity", "1")
    check()
    slide(page, "Temperature", 0.5)
    give(page, broken, picture("b.png"))
    captioned(page, 2)
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".body > .trouble")).to_have_count(1)
    check()


def test_axe_finds_no_violation_where_a_key_is_asked_for(view, guarded):
    page = view(guarded, refusals=["401 (Unauthorized)"])
    expect(page.locator("#key-form")).to_be_visible()
    result = axe.Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


@pytest.mark.parametrize("width", [320, 1280])
def test_hostile_names_stay_texts_and_fit_the_page(view, address, picture, width):
    page = ready(view(address, viewport={"width": width, "height": 800}))
    slide(page, "Captions for each picture", 3) if width > 800 else None
    give(page, picture(HOSTILE), picture(LONG))
    captioned(page, 2)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("h3").first.inner_text() == HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_reached_with_the_keyboard_alone(view, address, picture):
    page = ready(view(address))
    give(page, picture())
    captioned(page)
    reached = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(20):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "() => { const e = document.activeElement; return e.id || e.getAttribute('aria-label') || e.textContent; }"
        )
        reached.append(told.strip())
    order = ["choose", "photograph", "beam", "temperature", "count", "csv", "Remove red.png", "A"]
    assert [name for name in reached if name in order][: len(order)] == order
