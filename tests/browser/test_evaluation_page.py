"""The page of an evaluation in a browser, from a file address, offline."""

import shutil
from urllib.parse import quote, unquote

import pytest

from sample_evaluation import ABOUT, Sample, Told, evaluated
from showtell.images import ImageOptions
from showtell.pages.evaluation import write_page

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

OPTIONS = ImageOptions(size=32)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
HOSTILE = "<img src=x onerror=hacked=1> </script><script>hacked=1</script> \"'&"
LONG = "donaudampfschiff" * 12
RIGHT_TO_LEFT = "كلب أبيض يجري"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def view(browser, tmp_path):
    """Write the page of a sample and open it: nothing may come from elsewhere, and no error be told."""
    opened = []

    def run(sample, fragment="", images=OPTIONS, **how):
        folder = tmp_path / "page"
        write_page(folder, evaluated(tmp_path / "pictures", sample), ABOUT, images=images, threads=1)
        context = browser.new_context(offline=True, **({"viewport": {"width": 1400, "height": 900}} | how))
        page = context.new_page()
        page.set_default_timeout(20_000)  # milliseconds; a busy machine is slow
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.goto((folder / "index.html").as_uri() + fragment)
        page.wait_for_function("performance.getEntriesByName('showtell-list').length")
        opened.append((context, folder.as_uri(), asked, errors))
        return page

    yield run
    for context, folder, asked, errors in opened:
        context.close()
        assert [address for address in asked if not address.startswith(folder)] == []
        assert errors == []


def looking(**changes):
    return Told(**({"words": "a red circle", "looks": ("upper left", "lower right", "upper right")} | changes))


def three():
    """Three pictures: the first caption is right, the second half right, the third wrong."""
    return Sample(
        rows=[
            Told(words="a green dog sleeps", references=("a red circle", "the circle is red"), id="worst.png"),
            Told(words="a dog runs on grass", references=("a dog runs on grass", "a dog on a field"), id="best.png"),
            Told(words="two cats sit", references=("two cats sit on a scattered heap of hay",), id="middle.png"),
        ]
    )


def names(page):
    return page.locator("article h3 a").all_inner_texts()


def shown_maps(page):
    return page.locator("canvas.shown").count()


def warmth(page, x, y):
    """Red, green, blue and opacity, 0..255, of the map that is shown, at a place in shares of it."""
    code = """([x, y]) => { const c = document.querySelector("canvas.shown");
        return [...c.getContext("2d").getImageData(x * c.width, y * c.height, 1, 1).data] }"""
    return page.evaluate(code, [x, y])


def test_the_best_are_first_and_the_order_can_be_turned(view):
    page = view(three())
    assert names(page) == ["best.png", "middle.png", "worst.png"]
    page.get_by_label("Show in this order").select_option("worst first")
    assert names(page) == ["worst.png", "middle.png", "best.png"]
    page.get_by_label("Show in this order").select_option("as in the data set")
    assert names(page) == ["worst.png", "best.png", "middle.png"]
    page.get_by_label("Show in this order").select_option("best first")
    page.get_by_label("Order and range by").select_option("own score")  # fewer words are likelier there
    assert names(page)[0] == "middle.png"
    assert page.locator("article").first.locator(".numbers .chosen dt").inner_text() == "own score"


def test_pictures_are_there_with_captions_references_and_scores(view):
    page = view(three())
    best = page.locator("article").first
    best.locator("img").evaluate("image => image.decode()")
    assert best.locator("img").evaluate("image => image.naturalWidth") == 200
    assert best.locator(".caption").inner_text() == "a dog runs on grass"
    assert best.locator(".references li").all_inner_texts() == ["a dog runs on grass", "a dog on a field"]
    assert best.locator("dt").all_inner_texts() == ["CIDEr", "BLEU-1", "BLEU-4", "ROUGE-L", "own score"]
    assert best.locator("dd").nth(1).inner_text() == "100.0"


SEARCHES = [
    ("dog", "everything", ["best.png", "worst.png"]),
    ("DOG run", "everything", ["best.png"]),
    ("cat", "everything", ["middle.png"]),  # begins "cats", stands inside of "scattered"
    ("scat", "references", ["middle.png"]),
    ("scat", "captions", []),
    ('"red circle"', "everything", ["worst.png"]),
    ('"circle red"', "everything", []),
    ("dog -green", "everything", ["best.png"]),
    ("worst", "names", ["worst.png"]),
    ("(", "everything", []),
]


def test_words_are_searched(view):
    page = view(three())
    for typed, where, found in SEARCHES:
        page.get_by_label("Search in").select_option(where)
        page.get_by_role("searchbox", name="Search for words").fill(typed)
        assert names(page) == found, typed
        assert page.locator("#count").inner_text() == f"{len(found)} of 3"
        assert page.locator("#empty").is_visible() == (not found)


def test_what_was_searched_is_marked_and_all_can_be_shown_again(view):
    page = view(three())
    page.get_by_role("searchbox").fill('"dog runs"')
    assert page.locator(".hit").all_inner_texts() == ["dog", "runs"]
    assert page.locator("mark").all_inner_texts() == ["dog runs"]
    page.get_by_role("searchbox").fill("unicorn")
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#count").inner_text() == "3 pictures"
    assert page.locator("mark, .hit").count() == 0


def test_scores_are_cut_to_a_range_with_the_keyboard(view):
    page = view(three())
    low = page.get_by_role("slider", name="Lowest score shown")
    low.focus()
    low.press("ArrowRight")
    assert names(page) == ["best.png", "middle.png"]  # the worst has no point
    assert float(low.get_attribute("aria-valuetext")) > 0
    page.get_by_role("slider", name="Highest score shown").press("ArrowLeft")
    assert names(page) == ["middle.png"]
    page.get_by_label("Order and range by").select_option("BLEU-1")  # another score, the whole range
    assert len(names(page)) == 3


def test_captions_that_repeat_themselves_are_shown_alone(view):
    sample = three()
    sample.rows.append(Told(words="a dog a dog", id="again.png"))
    page = view(sample)
    page.get_by_label("Show only").select_option("that repeat themselves (1)")
    assert names(page) == ["again.png"]
    assert page.locator(".flag").inner_text() == "repeats itself"


def test_pointing_at_a_word_shows_where_it_looked(view):
    page = view(Sample(rows=[looking(), looking(words="a dog runs")]))
    article = page.locator("article").nth(1)
    article.locator(".word").nth(1).hover()
    page.wait_for_selector("canvas.shown")
    assert article.locator("canvas.shown").count() == shown_maps(page) == 1
    warm, dim = warmth(page, 0.8, 0.8), warmth(page, 0.2, 0.2)
    assert warm[0] > 200  # red and yellow
    assert max(dim[:3]) < 30  # darkened
    assert dim[3] > warm[3]
    article.locator(".word").nth(0).hover()
    page.wait_for_function("document.querySelector('.word.shown').innerText === 'a'")
    assert warmth(page, 0.2, 0.2)[0] > 200
    page.mouse.move(5, 5)
    page.wait_for_function("!document.querySelector('canvas.shown')")


def test_a_map_lies_over_the_part_that_the_encoder_saw(view):
    wide = looking(size=(200, 100))
    page = view(Sample(rows=[wide]), images=ImageOptions(size=32, fit="crop"))
    page.locator(".word").first.hover()
    page.wait_for_selector("canvas.shown")
    assert warmth(page, 0.3, 0.2)[0] > 200  # the upper left of the square in the middle
    assert warmth(page, 0.1, 0.2) == [0, 0, 0, 204]  # cut off, not seen at all
    box, image = page.locator("canvas").bounding_box(), page.locator("img").bounding_box()
    assert box == image


def test_the_keyboard_reaches_every_word_of_a_caption_with_one_stop(view):
    page = view(Sample(rows=[looking(), looking(words="a dog runs")]))
    page.locator("article h3 a").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "a"
    page.wait_for_selector("canvas.shown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # the last stays the last
    assert page.evaluate("document.activeElement.innerText") == "circle"
    page.wait_for_function("document.getElementById('said').innerText.startsWith('circle')")
    assert page.locator("#said").inner_text() == "circle: most attention at the upper right"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # on to the next picture, what was chosen stays
    assert page.locator("article").first.locator("canvas.shown").count() == 1
    assert page.get_by_role("button", name="a", pressed=True).count() == 1
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('canvas.shown')")


def test_a_tap_shows_a_word_and_a_second_tap_hides_it(view):
    page = view(Sample(rows=[looking()]), **PHONE)
    word = page.locator(".word").nth(1)
    word.tap()
    page.wait_for_selector("canvas.shown")
    assert word.get_attribute("aria-pressed") == "true"
    word.tap()
    page.wait_for_function("!document.querySelector('canvas.shown')")
    word.tap()
    page.wait_for_selector("canvas.shown")
    page.locator("img").tap()
    page.wait_for_function("!document.querySelector('canvas.shown, .word[aria-pressed=true]')")


def test_without_attention_words_are_plain(view):
    page = view(Sample(rows=[Told(words="a dog")]))
    assert page.locator(".caption").inner_text() == "a dog"
    assert page.locator(".word[role], canvas, [tabindex='0']").count() == 0
    assert not page.locator("#hint").is_visible()
    assert not page.locator("#legend").is_visible()


def test_the_log_probability_of_each_word_is_shown_on_request(view):
    page = view(Sample(rows=[Told(words="a dog")]))
    assert page.locator(".log:visible").count() == 0
    page.get_by_label("Log-probability of each word").check()
    assert page.locator(".told:visible").all_inner_texts() == ["a\n−0.25", "dog\n−0.50", "end\n−0.75"]
    page.get_by_label("Log-probability of each word").uncheck()
    assert page.locator(".log:visible").count() == 0


def test_a_caption_that_tells_no_probabilities_offers_none(view):
    page = view(Sample(rows=[Told(words="a dog", logs=False)]))
    assert not page.get_by_label("Log-probability of each word").is_visible()


def many(count=80):
    return Sample(rows=[Told(words="a dog", id=f"{i}.png", size=(40, 30)) for i in range(count)])


def test_pictures_are_laid_out_as_they_are_scrolled_to(view):
    page = view(many())
    first = page.locator("article").count()
    assert first < 80
    scrolled = "() => { scrollTo(0, 1e6); return document.querySelectorAll('article').length === 80; }"
    page.wait_for_function(scrolled)
    assert not page.get_by_role("button", name="Show more").is_visible()
    page.get_by_role("searchbox").fill("7")  # from far below to the beginning of what is left
    assert page.locator("article").first.is_visible()
    assert page.locator("article").first.bounding_box()["y"] >= 0


NAMES = ["77.png", 'a 100% "quoted" #1?.jpg', "folder/it's <b>.jpg", "собака 🐕.jpg", "50%"]


def test_an_address_leads_to_a_picture(view):
    sample = many(60)
    sample.rows += [Told(words="a cat", id=name) for name in NAMES]
    page = view(sample, f"#picture={quote(NAMES[1])}")
    target = page.locator("article.target")
    assert target.locator("h3 a").inner_text() == NAMES[1]
    assert 0 <= target.bounding_box()["y"] < 300
    assert page.evaluate("document.activeElement.className") == "target"
    page.get_by_role("searchbox").fill("dog")
    for name in NAMES:
        page.evaluate("name => { location.hash = `#picture=${encodeURIComponent(name)}` }", name)
        page.wait_for_function("name => document.querySelector('.target h3 a')?.innerText === name", arg=name)
        assert unquote(target.locator("h3 a").evaluate("link => link.hash")) == f"#picture={name}"
    assert page.get_by_role("searchbox").input_value() == ""  # it hid the pictures


def test_an_address_of_no_picture_is_passed_over(view):
    page = view(three(), "#picture=%E0%A4%A")
    assert page.locator("article").count() == 3


def hostile():
    return Sample(
        rows=[
            looking(words=HOSTILE, looks=("upper left",) * len(HOSTILE.split()), references=(HOSTILE,), id=HOSTILE),
            looking(words=f"a {LONG} dog 🐕 runs", looks=("upper left",) * 5, references=(LONG, "🐕" * 90), id=LONG),
            looking(words=RIGHT_TO_LEFT, references=(RIGHT_TO_LEFT,), id="\u202egpj.exe"),
            Told(words="", references=tuple(f"reference {i}" for i in range(9)), missing=True),
        ],
        failures=[(HOSTILE, HOSTILE)],
    )


@pytest.mark.parametrize("width", [360, 1400])
def test_hostile_texts_stay_texts_and_fit_the_page(view, width):
    page = view(hostile(), viewport={"width": width, "height": 800})
    page.get_by_label("Log-probability of each word").check()
    page.get_by_role("searchbox").fill("img")
    page.get_by_role("searchbox").fill("")
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Show in this order").select_option("as in the data set")
    article = page.locator("article").first
    assert article.locator(".references li").inner_text() == HOSTILE
    assert article.locator("h3 a").inner_text() == HOSTILE
    assert article.locator("img").count() == 1
    page.locator("summary", has_text="1 picture could not be read").click()
    assert HOSTILE in page.locator(".failures li").inner_text()
    boxes = [page.locator("article").nth(i).bounding_box() for i in range(4)]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


def test_a_caption_from_right_to_left_is_read_that_way(view):
    page = view(hostile())
    page.get_by_label("Show in this order").select_option("as in the data set")
    words = page.locator("article").nth(2).locator(".word")
    assert words.nth(0).bounding_box()["x"] > words.nth(2).bounding_box()["x"]
    words.nth(0).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.innerText") == RIGHT_TO_LEFT.split()[1]


def test_a_picture_that_is_not_there_is_no_error(view):
    page = view(hostile())
    page.get_by_label("Show in this order").select_option("as in the data set")
    article = page.locator("article").nth(3)
    assert article.locator(".frame").inner_text() == "no picture"
    assert article.locator(".caption").inner_text().startswith("(no words)")
    assert article.locator(".references li:visible").count() == 5
    article.locator("summary").click()
    assert article.locator(".references li:visible").count() == 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_colours_of_the_system_and_its_wish_for_rest(view, scheme):
    page = view(Sample(rows=[looking()]), color_scheme=scheme, reduced_motion="reduce")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) > 128) == (scheme == "light")
    page.locator(".word").first.hover()
    page.wait_for_selector("canvas.shown")
    assert page.locator("canvas").evaluate("map => getComputedStyle(map).transitionDuration") == "0s"


def test_everything_that_answers_has_a_name_and_headings_have_an_order(view):
    page = view(three())
    unnamed = """() => [...document.querySelectorAll("input, select, button, [role=button], a")].filter((element) =>
        !element.labels?.length && !element.ariaLabel && !element.innerText.trim()).map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []
    assert page.get_by_role("heading", level=1).inner_text() == "tiny on shapes"
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((heading) => heading.tagName)")
    assert levels == ["H1", "H2", "H3", "H3", "H3"]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "To the pictures"


def test_without_scores_the_list_is_there(view):
    page = view(Sample(rows=three().rows, metrics=("diversity",)))
    assert names(page)[0] == "middle.png"
    assert page.get_by_label("Order and range by").locator("option").all_inner_texts() == ["own score"]
