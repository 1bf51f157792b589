"""The page in a real Chromium: alone, with its server, and with a whole edged behind it.

Playwright only drives the system's browser; nothing is fetched from anywhere. A browser runs in a
thread of its own, so that the server's loop is free.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from edged.core.types import Pause
from edged.web.server import WebServer
from tests.support.daemon import world
from tests.support.documents import healthy, node2_refused, not_adopted
from tests.support.engine_run import EngineRun
from tests.support.pages import (
    ShownApi,
    drained,
    picture_of,
    router_lost,
    server_of,
    silent_everywhere,
)
from tests.support.parts import require_part

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.integration

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
T = TypeVar("T")

A_MINUTE_LATER = (
    "{ const then = performance.now; performance.now = () => then.call(performance) + 60000; }"
)
"""Lets time pass for the page only, which measures silence by that clock."""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One Chromium for all tests here."""
    chromium = require_part("chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an optional part

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


class Served:
    """A server in a thread with a loop of its own, and what it shows."""

    def __init__(self, run: EngineRun, language: str) -> None:
        self.api = ShownApi(run)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server: WebServer = server_of(self.api, language)
        self.call(self.server.start())

    def call(self, work: Any) -> Any:  # noqa: ANN401 - as it comes
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(5)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server.port}/"

    def show(self, run: EngineRun) -> None:
        """Show another situation, at once."""
        self.api.shown = picture_of(run)
        self.loop.call_soon_threadsafe(self.server.changed)

    def end(self) -> None:
        """End the server and its thread."""
        self.call(self.server.stop())
        self.call(asyncio.sleep(0.05))  # a browser that knocks once more is hung up on
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


@contextmanager
def served(run: EngineRun, language: str = "en") -> Iterator[Served]:
    """Serve a situation."""
    made = Served(run, language)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def opened(browser: "Browser", url: str, **options: Any) -> "Iterator[Page]":  # noqa: ANN401 - of Playwright
    """Open a page; whatever the browser complains about fails the test."""
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    told = [
        one for one in complaints if "ERR_" not in one
    ]  # a server that ended is a network error
    assert told == []


def until(done: Callable[[], T], limit_s: float = 5.0) -> T:
    """Wait until something is true."""
    end = time.monotonic() + limit_s
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def title_of(page: "Page") -> str:
    return page.locator(".story h2").first.inner_text()


# --- live ---------------------------------------------------------------------------------------


def test_the_page_follows_without_a_reload_and_keeps_focus_and_nodes(browser: "Browser") -> None:
    with served(healthy()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        assert "3 of 3 nodes in the route" in title_of(page)
        fine = page.locator("#icon").get_attribute("href")
        page.evaluate("document.querySelector('[data-key=\"node-web-node2\"]').mine = 1")
        page.locator("#nodes").focus()

        shown.show(node2_refused())

        until(lambda: "Degraded" in page.title())
        assert "node2 out of the route" in title_of(page)
        assert page.locator('[data-key="node-web-node2"]').inner_text().count("DOWN") == 1
        assert page.evaluate("document.querySelector('[data-key=\"node-web-node2\"]').mine") == 1
        assert page.evaluate("document.activeElement.id") == "nodes"
        assert page.locator("#icon").get_attribute("href") != fine


def test_what_comes_and_goes_appears_and_disappears(browser: "Browser") -> None:
    with served(healthy()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        assert page.locator(".story dl").count() == 0
        shown.show(node2_refused())
        page.wait_for_selector(".story dl")
        newest = page.locator(".events li").first.inner_text()
        assert "hex read back" in newest
        shown.show(healthy())
        page.wait_for_selector(".story dl", state="detached")
        assert page.locator("#nodes tbody tr").count() == 3


def test_a_dead_server_is_said_in_words_and_a_living_one_takes_them_back(
    browser: "Browser",
) -> None:
    with served(node2_refused()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        assert page.locator("#stale").is_hidden()
        page.evaluate(A_MINUTE_LATER)
        page.wait_for_selector("#stale:not([hidden])")
        words = page.locator("#stale").inner_text()
        assert words.startswith("No news from edged since ")
        assert "what stands below is old" in words
        assert page.title().startswith("OLD: ")
        assert page.locator("#live").inner_text() == "OLD"
        shown.show(node2_refused())
        page.wait_for_selector("#stale[hidden]", state="attached")
        assert not page.title().startswith("OLD")


def test_the_browser_comes_back_to_a_server_that_was_away(browser: "Browser") -> None:
    with served(healthy()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        port = shown.server.port
        shown.call(shown.server.stop())
        again = server_of(ShownApi(node2_refused()))
        again._settings = replace(again._settings, port=port)
        shown.server = again
        shown.call(again.start())
        until(lambda: "Degraded" in page.title(), 10)


def test_without_script_the_page_is_whole_and_reloads_itself(browser: "Browser") -> None:
    with (
        served(node2_refused()) as shown,
        opened(browser, shown.url, java_script_enabled=False) as page,
    ):
        assert "node2 out of the route" in title_of(page)
        assert page.locator("#nodes tbody tr").count() == 3
        assert page.locator("#live").inner_text() == "not live: reload for news"
        assert page.locator("noscript meta[http-equiv=refresh]").count() == 1


def test_markup_in_names_does_nothing(browser: "Browser") -> None:
    hostile = "<img src=x onerror='document.title=1'><script>document.title=2</script>"
    with served(drained(hostile)) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        shown.show(drained(hostile))
        page.wait_for_timeout(300)
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1
        assert hostile in page.locator(".story").inner_text()
        assert page.title().endswith("edged")


def test_the_browser_enforces_the_policy(browser: "Browser") -> None:
    with served(healthy()) as shown:
        context = browser.new_context()
        page = context.new_page()
        page.goto(shown.url)
        page.evaluate(
            "{ const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            " document.body.append(s); }"
        )
        assert page.evaluate("window.ran") is None
        context.close()


# --- for everybody ------------------------------------------------------------------------------


def paused() -> EngineRun:
    run = healthy()
    run.events.extend(run.engine.command(Pause(owner="kim"), run.now_ms))
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(30_000)
    return run


SITUATIONS: list[tuple[str, Callable[[], EngineRun]]] = [
    ("healthy", healthy),
    ("one out", node2_refused),
    ("all silent", silent_everywhere),
    ("drained", drained),
    ("router lost", router_lost),
    ("paused", paused),
    ("not adopted", not_adopted),
]
LOOKS: list[dict[str, Any]] = [
    {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
    {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}},
]
LOOK_IDS = ["light", "dark", "phone", "dark phone"]
AXE = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }"


COLOURS: list[tuple[str, Callable[[], EngineRun]]] = [
    ("one out", node2_refused),
    ("all silent", silent_everywhere),
    ("drained", drained),
]
"""Between them these have every colour of the page."""


@pytest.mark.parametrize(
    ("look", "language"), list(zip(LOOKS, ["en", "ko", "ko", "en"], strict=True)), ids=LOOK_IDS
)
def test_axe_finds_nothing_in_any_situation(
    browser: "Browser", look: dict[str, Any], language: str
) -> None:
    axe = Path(require_part("axe")).read_text(encoding="utf-8")
    with served(healthy(), language) as shown:
        context = browser.new_context(**look, bypass_csp=True)
        page = context.new_page()
        for name, make in COLOURS:
            shown.show(make())
            for old in (False, True) if name == "one out" else (False,):
                page.goto(shown.url)
                page.wait_for_selector("#live.on")
                if old:
                    page.evaluate(A_MINUTE_LATER)
                    page.wait_for_selector("#stale:not([hidden])")
                page.add_script_tag(content=axe)
                found = page.evaluate(f"axe.run(document, {AXE})")
                told = [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
                assert told == [], (name, old)
        context.close()


@pytest.mark.parametrize("look", LOOKS, ids=LOOK_IDS)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_nothing_is_cut_off_or_wider_than_the_screen(
    browser: "Browser", look: dict[str, Any], language: str
) -> None:
    with served(node2_refused(), language) as shown, opened(browser, shown.url, **look) as page:
        page.wait_for_selector("#live.on")
        assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
        assert page.locator("html").get_attribute("lang") == language
        title = page.locator(".story h2").first.bounding_box()
        reason = page.locator(".story dd").nth(1).bounding_box()
        assert title is not None
        assert reason is not None
        # What is wrong and what edged did stand on the first screen.
        assert reason["y"] + reason["height"] < look["viewport"]["height"] * 0.6


def test_the_keyboard_reaches_the_nodes_with_two_keys(browser: "Browser") -> None:
    with served(healthy()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the nodes"
        page.keyboard.press("Enter")
        until(lambda: page.evaluate("document.activeElement.id") == "nodes")


def test_only_the_headline_speaks_up_by_itself(browser: "Browser") -> None:
    with served(node2_refused()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        spoken = page.locator("[aria-live]")
        assert spoken.count() == 1
        before = spoken.inner_text()
        first = page.locator(".asof time").inner_text()
        shown.api.shown = picture_of(node2_refused(90_000))
        shown.loop.call_soon_threadsafe(shown.server.changed)
        until(lambda: page.locator(".asof time").inner_text() != first)
        assert spoken.inner_text() == before


def test_a_screen_readers_tree_has_tables_rows_and_headings(browser: "Browser") -> None:
    phone = LOOKS[2]
    with served(node2_refused()) as shown, opened(browser, shown.url, **phone) as page:
        page.wait_for_selector("#live.on")
        assert page.get_by_role("table", name="Nodes").count() == 1
        rows = page.get_by_role("table", name="Nodes").get_by_role("row")
        assert rows.count() == 4
        assert page.get_by_role("rowheader", name="node2").count() == 1
        assert page.get_by_role("heading", level=2).first.inner_text().startswith("!")
        drawn = page.get_by_role("img", name="node2, last 10 minutes: 516 probes passed, 77 failed")
        assert drawn.count() == 1


def test_it_prints_on_paper_without_controls_and_in_full(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(node2_refused()) as shown, opened(browser, shown.url) as page:
        page.wait_for_selector("#live.on")
        page.emulate_media(media="print")
        assert page.locator("#live").is_hidden()
        assert page.locator(".story dl").is_visible()
        paper = tmp_path / "page.pdf"
        page.pdf(path=paper, format="A4")
        pages = paper.read_bytes().count(b"/Type /Page\n") or paper.read_bytes().count(
            b"/Type /Page"
        )
        assert 1 <= pages <= 4


def test_pictures_for_people_to_look_at(browser: "Browser") -> None:
    """With EDGED_SHOTS=folder each situation is kept as a picture; that they differ is checked."""
    folder = os.environ.get("EDGED_SHOTS")
    seen: dict[bytes, str] = {}
    for name, make in SITUATIONS:
        with served(make()) as shown, opened(browser, shown.url, **LOOKS[0]) as page:
            page.wait_for_selector("#live.on")
            picture = page.locator(".stories").screenshot()
            if folder:
                page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        assert picture not in seen, (name, seen.get(picture))
        seen[picture] = name


# --- a whole edged ------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_killed_envoy_is_on_the_page_of_a_running_edged_and_an_open_page_delays_no_exit(
    browser: "Browser", short_tmp_path: Path
) -> None:
    port = free_port()
    with world(short_tmp_path, settings={"listen": f"127.0.0.1:{port}"}) as w:
        w.wait_settled()
        with opened(browser, f"http://127.0.0.1:{port}/") as page:
            page.wait_for_selector("#live.on")
            until(lambda: "3 of 3 nodes in the route" in title_of(page))
            w["node2"].kill()
            until(lambda: "node2 out of the route · 2 of 3 left" in title_of(page))
            until(lambda: "read back as written" in page.locator(".story").inner_text())
            assert "took node2 out of the route on hex" in page.locator(".story").inner_text()

            began = time.monotonic()
            w.daemon.child.send(signal.SIGTERM)
            w.daemon.child.wait(5)
            assert time.monotonic() - began < 1
