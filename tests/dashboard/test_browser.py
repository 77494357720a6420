"""Every page in Chromium: both themes, phone and desk, nothing refused, nothing inaccessible.

With PANELBOARD_SCREENSHOTS set to a folder, each page's picture is kept there to be looked at.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from routing.models import Provider
from routing.services.policies import save_policy
from tests.dashboard.batches_world import add_batches
from tests.dashboard.kinds_world import add_kinds
from tests.dashboard.world import World
from tests.support.running_hub import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = ROOT / "tests/vendor/axe-4.14.1.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = {"phone": (360, 780), "desk": (1440, 900)}
CHARTS_WITHIN_MS = 15_000
LEAST_TARGET_PX = 24
EXPECTED = re.compile(r"status of 40[04]")  # pages that are answers to mistakes

# Collects what the browser refused, from the first moment of each page.
WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.refused.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""
# Swagger UI is someone else's widget: its page is ours, its inside is not.
RUN_AXE = """
(tags) => axe.run({exclude: ["#swagger-ui"]}, {runOnly: tags, resultTypes: ["violations"]})
  .then(({violations}) => violations.map(({id, nodes}) =>
    `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`))
"""
SMALL_TARGETS = """
(least) => [...document.querySelectorAll("main button, main select, main input, nav a")]
  .filter((node) => node.checkVisibility() && node.type !== "hidden")
  .filter((node) => !node.closest("#swagger-ui"))
  .filter((node) => { const box = (node.closest("label") ?? node).getBoundingClientRect();
    return box.height < least || box.width < least; })
  .map((node) => node.outerHTML.slice(0, 120))
"""

# Where a table has no scroll region of its own, what reaches beyond its card cannot be seen.
CUT_OFF = """
() => [...document.querySelectorAll(".scroll")]
  .filter((node) => getComputedStyle(node).overflowX === "visible")
  .filter((node) => node.scrollWidth > node.clientWidth)
  .map((node) => node.getAttribute("aria-label"))
"""

SIDEWAYS = """
() => [...document.querySelectorAll(".scroll")]
  .filter((node) => node.scrollWidth > node.clientWidth)
  .map((node) => node.getAttribute("aria-label"))
"""

# A last row with fewer tiles than the others leaves a hole in the card.
TILES_PER_ROW = """
() => Object.values([...document.querySelectorAll(".tile")].reduce((rows, tile) => {
  const top = Math.round(tile.getBoundingClientRect().top);
  return {...rows, [top]: (rows[top] ?? 0) + 1};
}, {}))
"""
COVERED_CODE = """
() => [...document.querySelectorAll(".snippet")].filter((node) => {
  const [button, code] = ["button", "code"].map((name) => node.querySelector(name));
  return button.getBoundingClientRect().bottom > code.getBoundingClientRect().top;
}).map((node) => node.textContent.slice(0, 40))
"""


@pytest.fixture(autouse=True)
def _emptied_log(transactional_db: None) -> Iterator[None]:
    """The log's partitioned tables are no models of Django's, so its flush leaves them alone."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE request_log, attempt")


class Visitor:
    """A tab that remembers everything the browser complained of."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.base_url = base_url
        context.add_init_script(WATCH)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            self.complaints.append(message.text)

    def open(self, address: str) -> Page:
        self.page.goto(self.base_url + address)
        if "/api/docs/" in address:
            self.page.locator(".opblock").first.wait_for()
        return self.page

    def draw_charts(self) -> None:
        boxes = self.page.locator("[data-chart]")
        for number in range(boxes.count()):
            boxes.nth(number).scroll_into_view_if_needed()
        if boxes.count():
            self.page.wait_for_function(
                "() => [...document.querySelectorAll('[data-chart]')].every(b => b.dataset.drawn)",
                timeout=CHARTS_WITHIN_MS,
            )
            self.page.evaluate("() => scrollTo(0, 0)")

    def accept(self, name: str) -> None:
        """Nothing refused, nothing logged, nothing wider than the window, no axe violation."""
        page = self.page
        assert page.evaluate("() => window.refused") == [], name
        assert self.complaints == [], name
        overflow = (
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert page.evaluate(overflow) <= 0, f"{name} scrolls sideways"
        assert page.evaluate(CUT_OFF) == [], f"{name} has tables wider than their cards"
        assert page.evaluate(SMALL_TARGETS, LEAST_TARGET_PX) == [], name
        page.evaluate(AXE.read_text())
        assert page.evaluate(RUN_AXE, RULES) == [], name


def sign_in(context: BrowserContext, base_url: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": base_url}])


def addresses(world: World, of_kinds: dict[str, UUID], shown: dict[str, str]) -> dict[str, str]:
    endpoints = "groq~openai-gpt-oss-120b-vs-novita~openai-gpt-oss-120b"
    return {
        "overview": "/",
        "requests": "/requests/?period=30d",
        "requests-filtered": "/requests/?period=30d&provider=groq&outcome=ok",
        "requests-empty": "/requests/?until=2026-01-01",
        "receipt": f"/requests/{world.rescued}/",
        "batches": "/batches/",
        "batch-running": f"/batches/{shown['running']}/",
        "batch-failed": f"/batches/{shown['failed']}/",
        "models": "/models/",
        "model": "/models/openai-gpt-oss-120b/",
        "model-unmeasured": "/models/quiet-silent-1/",
        "policies": "/policies/",
        "policy": "/policies/balanced/",
        "providers": "/providers/",
        "provider": "/providers/groq/",
        "compare": "/compare/",
        "compare-providers": "/compare/groq-vs-together/",
        "compare-endpoints": f"/compare/{endpoints}/",
        "compare-models": "/compare/meta-llama-llama-3-3-70b-instruct-vs-openai-gpt-oss-120b/",
        "spend": "/spend/",
        "spend-empty": "/spend/?month=2026-02",
        "playground": "/playground/",
        "keys": "/keys/",
        "model-embedding": "/models/acme-embed-1/",
        "model-image": "/models/acme-paint-1/",
        "models-of-kinds": "/models/?kind=image&kind=speech",
        "compare-embeddings": "/compare/groq~acme-embed-1-vs-novita~acme-embed-1/",
        "compare-kinds": "/compare/?s=acme-embed-1&s=acme-speak-1",
        "requests-of-surface": "/requests/?surface=transcriptions",
        **{f"receipt-{kind}": f"/requests/{found}/" for kind, found in of_kinds.items()},
        "api-docs": "/api/docs/",
        "not-found": "/no/such/page/",
    }


def keep_picture(page: Page, name: str) -> None:
    folder = os.environ.get("PANELBOARD_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(browser: Browser, theme: str, width: str) -> Iterator[BrowserContext]:
    across, down = WIDTHS[width]
    opened = browser.new_context(
        viewport={"width": across, "height": down},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    yield opened
    opened.close()


def test_every_page_is_clean(
    context: BrowserContext, theme: str, width: str, world: World, live_server: Any
) -> None:
    visitor = Visitor(context, live_server.url)
    visitor.open("/login/")
    visitor.accept("login")
    keep_picture(visitor.page, f"login-{theme}-{width}")
    sign_in(context, live_server.url, world.owner)
    save_policy(name="balanced", document={"objective": "balanced"}, is_default=True)
    for name, address in addresses(world, add_kinds(world), add_batches(world)).items():
        visitor.open(address)
        visitor.draw_charts()
        keep_picture(visitor.page, f"{name}-{theme}-{width}")
        visitor.accept(name)


@pytest.fixture
def desk(browser: Browser, world: World, live_server: Any) -> Iterator[Visitor]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    sign_in(opened, live_server.url, world.owner)
    visitor = Visitor(opened, live_server.url)
    yield visitor
    opened.close()
    assert visitor.complaints == []


@pytest.fixture
def without_scripts(browser: Browser, world: World, live_server: Any) -> Iterator[Page]:
    opened = browser.new_context(java_script_enabled=False)
    sign_in(opened, live_server.url, world.owner)
    page = opened.new_page()
    page.goto(live_server.url)
    yield page
    opened.close()


def test_filters_and_tables_work_without_scripts(without_scripts: Page, live_server: Any) -> None:
    page = without_scripts
    page.goto(f"{live_server.url}/requests/?period=30d")
    page.get_by_label("Provider").select_option("groq")
    page.get_by_role("button", name="Apply").click()
    assert "provider=groq" in page.url
    page.goto(f"{live_server.url}/models/")
    page.get_by_label("Search").fill("llama")
    page.get_by_role("button", name="Apply").click()
    assert page.get_by_text("1 of 3 models").is_visible()
    page.goto(f"{live_server.url}/spend/")
    page.get_by_text("As a table").click()
    assert page.get_by_role("region", name="Spend by day, as a table").is_visible()


def test_the_theme_is_chosen_and_kept(desk: Visitor) -> None:
    page = desk.open("/models/")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    switch = page.get_by_role("button", name="Theme: system")
    switch.click()
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    desk.open("/spend/")
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate(ground) == light


def test_why_this_number_opens_by_keyboard_and_closes_by_escape(desk: Visitor) -> None:
    page = desk.open("/")
    page.get_by_role("button", name="Why this number: Delivered success").focus()
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog", name="Delivered success")
    assert box.is_visible()
    assert "Wilson" in box.inner_text()
    keep_picture(page, "why")
    page.keyboard.press("Escape")
    assert not box.is_visible()


def test_models_are_found_while_typing_and_the_address_follows(desk: Visitor) -> None:
    page = desk.open("/models/")
    page.get_by_label("Search").press_sequentially("llama")
    page.get_by_text("1 of 3 models").wait_for()
    assert "q=llama" in page.url
    page.reload()
    assert page.get_by_label("Search").input_value() == "llama"


def test_a_choice_in_the_filter_bar_applies_itself(desk: Visitor) -> None:
    page = desk.open("/requests/?period=30d")
    with page.expect_navigation():
        page.get_by_label("Provider").select_option("groq")
    assert "provider=groq" in page.url
    assert "outcome=" not in page.url, "empty choices stay out of the address"
    with page.expect_navigation():
        page.get_by_role("link", name="Remove filter Provider Groq").click()
    assert "provider" not in page.url


def test_the_menu_of_a_phone_opens_and_closes(
    browser: Browser, world: World, live_server: Any
) -> None:
    opened = browser.new_context(viewport={"width": 360, "height": 780})
    sign_in(opened, live_server.url, world.owner)
    page = opened.new_page()
    page.goto(live_server.url)
    page.get_by_role("button", name="Menu").click()
    menu = page.get_by_role("navigation", name="All pages")
    assert menu.get_by_role("link", name="Spend").is_visible()
    keep_picture(page, "menu-phone")
    page.get_by_role("button", name="Close").click()
    assert not menu.is_visible()
    opened.close()


def test_the_first_tab_stop_skips_to_the_content(desk: Visitor) -> None:
    page = desk.open("/models/")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_a_copied_example_is_the_one_shown(desk: Visitor) -> None:
    desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = desk.open("/models/openai-gpt-oss-120b/")
    page.get_by_role("button", name="Copy curl example").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == page.locator("#use-curl").inner_text()
    assert "/v1/chat/completions" in copied


def frames(provider: str, ttft_ms: float, request_id: str) -> str:
    deltas = [{"choices": [{"delta": {"content": text}}]} for text in (provider, " says", " hi.")]
    figures = {
        "request_id": request_id,
        "ttft_ms": ttft_ms,
        "output_tps": 88.4,
        "output_tokens": 3,
        "cost_usd": "0.0000123",
    }
    told = "".join(f"data: {json.dumps(delta)}\r\n\r\n" for delta in deltas)
    return f"{told}data: [DONE]\n\nevent: panelboard\ndata: {json.dumps(figures)}\n\n"


def test_the_playground_streams_columns_side_by_side(desk: Visitor, world: World) -> None:
    page = desk.open("/playground/")
    asked: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        body = route.request.post_data_json
        asked.append(body)
        assert route.request.headers["x-csrftoken"]
        if len(asked) == 1:
            text = frames("First", 123.4, str(world.requests[0]))
            route.fulfill(content_type="text/event-stream", body=text)
        else:
            error = {"error": {"message": "This endpoint no longer exists."}}
            route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(error)}\n\n")

    page.route("**/playground/stream/", answer)
    page.get_by_role("textbox", name="Prompt", exact=True).fill("Say hi")
    page.keyboard.press("Control+Enter")
    page.get_by_text("First says hi.").wait_for()
    page.get_by_text("This endpoint no longer exists.").wait_for()
    assert {body["prompt"] for body in asked} == {"Say hi"}
    assert len({body["endpoint_id"] for body in asked}) == 2
    assert page.get_by_text("123 ms").is_visible()
    assert page.get_by_text("88 tok/s").is_visible()
    receipt = page.get_by_role("link", name="Receipt").get_attribute("href")
    assert receipt == f"/requests/{world.requests[0]}/"
    keep_picture(page, "playground-ran")
    page.reload()
    assert page.get_by_role("textbox", name="Prompt", exact=True).input_value() == "Say hi"


def test_a_stopped_run_says_so(desk: Visitor) -> None:
    page = desk.open("/playground/")
    page.route("**/playground/stream/", lambda route: None)  # never answers
    page.get_by_role("textbox", name="Prompt", exact=True).fill("Say hi")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").first.wait_for()
    assert page.get_by_role("button", name="Run").is_enabled()


def test_a_desk_shows_every_column_whatever_providers_are_called(
    browser: Browser, world: World, live_server: Any
) -> None:
    add_kinds(world)
    for provider in Provider.objects.all():
        provider.name = f"{provider.name} AI Endpoints"
        provider.save()
    opened = browser.new_context(viewport={"width": 1440, "height": 900})
    sign_in(opened, live_server.url, world.owner)
    visitor = Visitor(opened, live_server.url)
    for address in ("/models/", "/models/acme-embed-1/", "/requests/", "/providers/groq/"):
        visitor.open(address).wait_for_selector(".table")
        assert visitor.page.evaluate(SIDEWAYS) == [], address
    opened.close()


@pytest.mark.parametrize("across", [360, 768, 1024, 1440])
def test_tiles_fill_their_card_and_no_button_covers_code(
    browser: Browser, world: World, live_server: Any, across: int
) -> None:
    opened = browser.new_context(viewport={"width": across, "height": 900})
    sign_in(opened, live_server.url, world.owner)
    visitor = Visitor(opened, live_server.url)
    for address in ("/", f"/requests/{world.rescued}/", "/providers/groq/"):
        assert len(set(visitor.open(address).evaluate(TILES_PER_ROW))) == 1, address
    for address in ("/models/openai-gpt-oss-120b/", "/spend/", f"/requests/{world.rescued}/"):
        assert visitor.open(address).evaluate(COVERED_CODE) == [], address
    opened.close()
