from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import QUIET, chromium_or_skip
from tests.support.running_hub import RunningHub, data_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


SHARING = frozenset({"e2e", "clients", "matrix"})  # folders


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a hub stay together and come first, because they take longest.

    Pages are opened last: Playwright keeps a loop running in this thread until it is closed, and no
    asynchronous test can run beside it.
    """
    items.sort(key=lambda item: (opens_pages(item), not shares_the_hub(item)))


def pytest_itemcollected(item: pytest.Item) -> None:
    if opens_pages(item):
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.xdist_group("pages"))
    elif shares_the_hub(item):
        item.add_marker(pytest.mark.xdist_group("hub"))
    elif "launch" in item.path.parts:
        item.add_marker(pytest.mark.xdist_group("launch"))


def opens_pages(item: pytest.Item) -> bool:
    return "browser" in getattr(item, "fixturenames", ())


def shares_the_hub(item: pytest.Item) -> bool:
    return not SHARING.isdisjoint(item.path.parts) or "hub" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous calls run a loop in this thread, which Django would take for async.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=executable,
            args=QUIET,
            chromium_sandbox=os.geteuid() != 0 and not os.environ.get("CI"),
        )
        yield opened
        opened.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab. An uncaught error of a script fails the test."""
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(10_000)
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    context.close()
    assert not errors, errors


@pytest.fixture(scope="session")
def hub(hub_folder: Path) -> Iterator[RunningHub]:
    """One whole hub with the provider simulator, shared by all tests that ask for it.

    The simulator keeps to the providers' real pace: a faster one leaves no speed to be measured.
    """
    running = RunningHub(hub_folder)
    running.start()
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output
    assert "Warning" not in running.output, running.output


@pytest.fixture(scope="session")
def hub_folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _close_broker() -> Iterator[None]:
    """Producers keep connections open, which would outlive the session as warnings."""
    yield
    from kombu import pools

    pools.reset()
