"""The page in a real browser: opened from its file, without a network, used by pointer and by keyboard."""

import shutil

import pytest

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.report.html import write_report
from hpc_trex.report.source import DASH
from tests.unit.report.sample import bare, grown
from tests.unit.report.test_cases import CASES, MOVED
from tests.unit.report.test_html import HOSTILE, hostile

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "no Chromium found; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, tmp_path):
    """Return what writes a search's report and opens it; at the end nothing may have gone wrong or out."""
    troubles, requests, contexts = [], [], []

    def open_page(make, **context):
        search = SearchPaths(tmp_path)
        path = write_report(search, make(search))
        contexts.append(chromium.new_context(viewport={"width": 1400, "height": 1000}, **context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert requests
    assert all(url.startswith(("file://", "data:")) for url in requests)


def test_a_click_on_a_round_opens_its_drawer_and_another_place_closes_it(visit):
    page = visit(lambda search: grown(search, 12))
    drawer = page.locator("#drawer")
    assert drawer.is_hidden()
    page.locator("#node-3 .glyph").click()
    assert drawer.is_visible()
    assert "Round 3: rows with conflicting answers" in drawer.inner_text()
    assert drawer.locator("svg.plot path").count() == 2
    assert drawer.get_by_text("load(curated)").is_visible()
    assert page.url.endswith("#node-3")
    page.locator("h2", has_text="Trials").click()
    assert drawer.is_hidden()
    assert "#" not in page.url


def test_a_drawer_has_the_rows_against_the_parents_as_a_table_and_hostile_answers_as_text(visit):
    def make(search):
        source = grown(search, 4)
        broken = MOVED.examples[0].model_copy(update={"now": HOSTILE})
        moved = MOVED.model_copy(update={"examples": (broken,)})
        write_record(search.cases(3), CASES.model_copy(update={"movement": moved}))
        return source

    page = visit(make)
    page.locator("#node-3 .glyph").click()
    drawer = page.locator("#drawer")
    table = drawer.locator("table", has_text="before, now:")
    assert table.locator("thead th").all_inner_texts() == ["before, now:", "right", "content", "refusal"]
    assert table.locator("tbody tr").last.locator("td").all_inner_texts() == ["format", "6", "1", "0"]
    assert "6 fixed, 1 broken, 3 still bad, 10 still right" in drawer.inner_text()
    assert HOSTILE[:30] in drawer.inner_text()
    page.keyboard.press("Escape")
    page.locator("#node-2 .glyph").click()
    assert "before, now:" not in drawer.inner_text()


def test_the_tree_is_walked_with_the_keyboard(visit):
    page = visit(lambda search: grown(search, 12))
    data = page.evaluate("JSON.parse(document.getElementById('data').textContent)")
    focused = "document.activeElement.dataset.node"
    page.locator("#node-0").focus()
    page.keyboard.press("ArrowRight")
    child = page.evaluate(focused)
    assert data["nodes"][child]["parent"] == 0
    page.keyboard.press("ArrowDown")
    below = page.evaluate(focused)
    assert below != child
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == child
    page.keyboard.press("Enter")
    assert page.locator("#drawer h2").inner_text() == f"Round {child}"
    page.keyboard.press("Escape")
    assert page.locator("#drawer").is_hidden()
    assert page.evaluate(focused) == child
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "0"
    page.keyboard.press("b")
    assert page.locator("#drawer h2").inner_text() == f"Round {data['best']}"
    page.get_by_label("Go to the parent").click()
    assert page.locator("#drawer h2").inner_text() in {
        "Baseline",
        f"Round {data['nodes'][str(data['best'])]['parent']}",
    }


def test_the_table_sorts_and_filters(visit):
    page = visit(lambda search: grown(search, 12))
    scores = (
        "[...document.querySelectorAll('.sortable tbody tr:not([hidden]) td:nth-child(4)')].map(c => c.textContent)"
    )
    page.get_by_role("button", name="Score").click()
    falling = [float(text) for text in page.evaluate(scores) if text != DASH]
    assert falling == sorted(falling, reverse=True)
    assert page.evaluate(scores)[-1] == DASH
    page.get_by_role("button", name="Score").click()
    rising = [float(text) for text in page.evaluate(scores) if text != DASH]
    assert rising == sorted(rising)
    assert page.evaluate(scores)[-1] == DASH
    page.locator("#filter").fill("failed node_fail")
    shown = page.locator(".sortable tbody tr:not([hidden])")
    assert 0 < shown.count() < len(falling)
    assert all("NODE_FAIL" in text for text in shown.all_inner_texts())


def test_hostile_text_is_shown_and_never_run(visit):
    page = visit(hostile)
    page.locator("#node-1 .glyph").click()
    page.wait_for_timeout(200)
    assert HOSTILE[:40] in page.locator("#drawer").inner_text()
    assert page.locator("#drawer img").count() == 0
    assert page.locator("script").count() == 2


def brightness(colour):
    """Return red + green + blue of ``rgb(r, g, b)``."""
    return sum(map(int, colour[4:-1].split(",")))


def test_light_and_dark_follow_the_system_and_the_button(visit):
    page = visit(lambda search: grown(search, 3), color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.locator("#theme").click()
    light = page.evaluate(colour)
    assert brightness(dark) < 150
    assert brightness(light) > 600


def test_an_address_with_a_round_opens_it(visit, tmp_path):
    page = visit(lambda search: grown(search, 5))
    page.goto("about:blank")
    page.goto((tmp_path / "report.html").as_uri() + "#node-2")
    assert page.locator("#drawer h2").inner_text() == "Round 2"


def test_a_pending_baseline_and_three_hundred_rounds_can_be_opened(visit):
    page = visit(lambda search: bare())
    page.locator("#node-0 .glyph").click()
    assert page.locator("#drawer h2").inner_text() == "Baseline"
    page = visit(lambda search: grown(search, 300, trials=3))
    assert page.locator("g.node").count() == 301
    page.locator("#node-0 .glyph").click()
    for _ in range(5):
        page.get_by_label("Next round").click()
    assert page.locator("#drawer h2").inner_text() == "Round 5"


def test_a_narrow_window_has_no_sideways_scrolling_and_print_leaves_the_controls_out(visit):
    page = visit(lambda search: grown(search, 12))
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.emulate_media(media="print")
    assert page.locator(".zoom").is_hidden()
    assert page.locator("#trials table").is_visible()
