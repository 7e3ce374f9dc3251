"""The page as a person has it: served by a real gateway, in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from configs.project import Project
from tasks.status.story import Addresses
from tasks.status.write import write_page
from tests.conftest import move_in
from tests.serving.conftest import RunningGateway
from tests.status.browser import browsing, executable
from tests.status.conftest import ADDRESSES
from tests.status.year import CASE, ENDED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("gateway"),
    pytest.mark.skipif(
        executable() is None, reason="no Chromium on this machine: `apt-get install chromium`, or set CHROMIUM to one"
    ),
]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 812}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(lived_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose place tells of a year, with a page that links to rows alone; no model of it can be served."""
    started = RunningGateway(move_in(lived_folder, tmp_path_factory.mktemp("status") / "clone"))
    write_page(started.project, Addresses(), ENDED)
    started.start().wait_for(lambda: started.get("/v2/health/live").status_code == 200, "sign of life")
    try:
        yield started
    finally:
        started.stop()


@dataclass
class Seen:
    """An open page, what its console said, and what it asked of whom."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, url: str, size: dict[str, int] = DESKTOP, scheme: str = "light") -> Iterator[Seen]:
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    try:
        seen.page.goto(url)
        yield seen
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_says_nothing_to_the_console_and_asks_nobody_else(
    browser: Browser, gateway: RunningGateway, size: dict[str, int], scheme: str
) -> None:
    with opened(browser, f"{gateway.url}/", size, scheme) as seen:
        page = seen.page
        expect(page.get_by_text("Since the gateway's workers started").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        wide, narrow = page.locator("svg.wide").first, page.locator("svg.narrow").first
        assert (wide.is_visible(), narrow.is_visible()) == ((True, False) if size is DESKTOP else (False, True))
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 21)"
        assert dark == (scheme == "dark")
        for folded in page.locator("summary").all():
            folded.click()
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"], "with every table open, too"
        assert seen.said == []
        assert {url.removeprefix(gateway.url) for url in seen.asked} == {"/", "/metrics", "/status"}


def test_a_mark_without_other_evidence_leads_to_its_row_which_is_unfolded(
    browser: Browser, gateway: RunningGateway
) -> None:
    with opened(browser, f"{gateway.url}/") as seen:
        mark = seen.page.locator("svg.wide a.mark").filter(has_text="Version 2 became champion").first
        assert not seen.page.locator(f"#{CASE}-happened table").is_visible()
        mark.click()
        row = seen.page.locator("tr:target")
        expect(row).to_contain_text("Version 2 became champion instead of version 1")
        expect(row).to_be_in_viewport()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_mark_of_a_blocked_delivery_leads_to_its_validation_page(
    browser: Browser, gateway: RunningGateway, size: dict[str, int]
) -> None:
    with opened(browser, f"{gateway.url}/", size) as seen:
        mark = seen.page.locator("svg a.mark:visible").filter(has_text="Delivery 2013-W27 blocked").first
        mark.click()
        expect(seen.page.get_by_role("heading", name="2013-W27: distance")).to_be_visible()
        assert seen.page.url == f"{gateway.url}/{CASE}/validation/2013-W27.html"


def test_the_same_link_works_from_the_file(browser: Browser, gateway: RunningGateway) -> None:
    with opened(browser, gateway.project.status_page.as_uri()) as seen:
        expect(seen.page.get_by_text("Opened as a file").first).to_be_visible()
        seen.page.locator("svg.wide a.mark").filter(has_text="Delivery 2013-W27 blocked").first.click()
        expect(seen.page.get_by_role("heading", name="2013-W27: distance")).to_be_visible()
        assert seen.said == []


def test_every_mark_can_be_reached_and_followed_with_the_keyboard(browser: Browser, gateway: RunningGateway) -> None:
    with opened(browser, f"{gateway.url}/") as seen:
        page = seen.page
        page.locator("svg.wide a.mark").first.focus()
        reached = set()
        for _ in range(page.locator("svg.wide a.mark").count()):
            reached.add(page.evaluate("document.activeElement.querySelector('title')?.textContent"))
            page.keyboard.press("Tab")
        assert len(reached) == page.locator("svg.wide a.mark").count()
        page.locator("svg.wide a.mark").filter(has_text="Training turned away").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator("tr:target")).to_contain_text("Training turned away")


def test_without_javascript_the_page_stands_and_says_what_is_missing(browser: Browser, gateway: RunningGateway) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{gateway.url}/")
    expect(page.get_by_text("when it serves this page and the browser runs its script").first).to_be_visible()
    expect(page.get_by_text("May version 6 serve?")).to_be_visible()
    context.close()


def test_what_the_gateway_counts_is_shown(browser: Browser, gateway: RunningGateway) -> None:
    asked = gateway.post(f"/predict/{CASE}", json={"origin": "JFK"})
    assert asked.status_code >= 400
    with opened(browser, f"{gateway.url}/") as seen:
        errors = seen.page.locator(f'[data-live="{CASE}"] [data-figure="errors"]')
        expect(errors).to_have_text("1 of 1 requests", timeout=15_000)


def test_a_page_that_was_drawn_anew_is_offered(browser: Browser, gateway: RunningGateway) -> None:
    with opened(browser, "about:blank") as seen:
        page = seen.page
        page.clock.install()
        with page.expect_response(lambda answer: answer.request.method == "HEAD"):
            page.goto(f"{gateway.url}/")
        expect(page.locator("#newer")).to_be_hidden()
        write_page(gateway.project, ADDRESSES, ENDED)
        with page.expect_response(lambda answer: answer.request.method == "HEAD"):
            page.clock.fast_forward(31_000)
        expect(page.locator("#newer")).to_be_visible()
        page.get_by_role("link", name="a newer one is there").click()
        expect(page.get_by_role("link", name="Open the form").first).to_be_visible()
    write_page(gateway.project, Addresses(), ENDED)


def test_the_page_is_sent_once_and_its_head_alone_if_asked_for(gateway: RunningGateway) -> None:
    first = gateway.get("/")
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    again = gateway.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = httpx.head(f"{gateway.url}/", timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(first.content))
    assert head.headers["etag"] == first.headers["etag"]
    assert gateway.post("/").status_code == 405


def test_before_the_first_page_the_root_leads_to_the_documents(gateway: RunningGateway) -> None:
    page: Project = gateway.project
    kept = page.status_page.read_text()
    page.status_page.unlink()
    answer = gateway.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    page.status_page.write_text(kept)
    assert gateway.get("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/{CASE}/validation/2013-W26.html",
        f"/{CASE}/validation/2013-W27.json",
        f"/{CASE}/validation/..%2F..%2Fsecret.html",
        f"/monitoring/{CASE}/reports/none.html",
        "/monitoring/nobody/reports/1.html",
        "/nobody/validation/2013-W27.html",
    ],
)
def test_only_pages_of_the_loop_are_shown(gateway: RunningGateway, path: str) -> None:
    answer = gateway.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
