"""The gate: Chromium opens every page of the built book, over http and as files, and finds nothing broken.

A page fails on any request that leaves the site, any error, mathematics that was not set, a widget that does not
answer, and a phone's page that scrolls sideways. Without JavaScript the same pages are complete.
"""

from contextlib import contextmanager

import pytest

from chexpaper.widgets.page import NO_SCRIPT
from tests.book.conftest import DRIVE

WIDGET = "[data-chexlib-widget]"
NAMELESS = """(box) => [...box.querySelectorAll("input, select, button, .point, svg[role]")]
  .filter((node) => ![node.getAttribute("aria-label"), node.closest("label")?.textContent, node.textContent]
    .some((text) => text?.trim()))
  .map((node) => node.outerHTML.slice(0, 80))"""


def pages_of(built_book) -> list[str]:
    """Every page, as an address; index.html only leads on to book/index.html."""
    files = [
        path for path in built_book.rglob("*.html") if "_static" not in path.parts and path != built_book / "index.html"
    ]
    return sorted(path.relative_to(built_book).as_posix() for path in files)


@contextmanager
def opened(browser, **options):
    """A fresh page that notes what goes wrong: (page, troubles)."""
    context = browser.new_context(**options)
    page, troubles = context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("console", lambda said: troubles.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url} {request.failure}"))
    page.on("response", lambda got: troubles.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
    try:
        yield page, troubles
    finally:
        context.close()


def watch(page, troubles, home: str) -> None:
    """Note every request that leaves the site."""
    home = (home, "data:", "blob:")
    page.on("request", lambda asked: asked.url.startswith(home) or troubles.append(f"leaves: {asked.url}"))


def settle(page) -> None:
    """Wait until mathematics is set and widgets are mounted; no wait where there are none."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-chexlib-widget]')].every((box) => box.dataset.mounted)"
        " && (!document.querySelector('.math.notranslate') || window.MathJax?.startup?.promise)",
        timeout=60_000,
    )
    page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.mark.parametrize("how", ["http", "file"])
def test_every_page_is_whole_and_stays_at_home(how, browser, built_book, site):
    home = site if how == "http" else f"file://{built_book}"
    pages, widgets, formulas = pages_of(built_book), 0, 0
    assert len(pages) >= 15
    with opened(browser, viewport={"width": 1280, "height": 800}) as (page, troubles):
        watch(page, troubles, home)
        for name in pages:
            start = len(troubles)
            page.goto(f"{home}/{name}", wait_until="load")
            settle(page)
            formulas += page.locator("mjx-container").count()
            unset = page.locator(".math.notranslate:not(:has(mjx-container))").all_text_contents()
            failed = page.locator("mjx-merror, [data-mjx-error]").all_text_contents()
            troubles += [f"MathJax: {text}" for text in unset + failed]
            for box in page.locator(WIDGET).all():
                widgets += 1
                troubles += [f"the widget's {control} does nothing" for control in box.evaluate(DRIVE)]
            troubles[start:] = [f"{name}: {trouble}" for trouble in troubles[start:]]
    assert not troubles, "\n".join(troubles)
    assert widgets and formulas


def test_no_page_scrolls_sideways(browser, built_book, site):
    wide = []
    with opened(browser) as (page, _):
        for name in pages_of(built_book):
            page.set_viewport_size({"width": 360, "height": 740})
            page.goto(f"{site}/{name}", wait_until="load")
            settle(page)
            for width, scheme in ((360, "light"), (360, "dark"), (768, "light"), (1280, "light")):
                page.set_viewport_size({"width": width, "height": 740})
                page.emulate_media(color_scheme=scheme)
                found = page.evaluate("() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
                if found > width:
                    wide.append(f"{name}: {found} px wide at {width}, {scheme}")
    assert not wide, "\n".join(wide)


def test_pages_are_complete_without_javascript(browser, built_book):
    with opened(browser, java_script_enabled=False, viewport={"width": 1280, "height": 800}) as (page, troubles):
        watch(page, troubles, f"file://{built_book}")
        page.goto(f"file://{built_book}/book/executed/10_explorer.html")
        assert page.locator(f"{WIDGET} noscript").inner_text() == NO_SCRIPT
        figures = page.locator(".cell_output img")
        assert figures.count() and figures.first.bounding_box()["width"] > 200
    troubles = [trouble for trouble in troubles if not trouble.endswith(" csp")]  # scripts that were not to run
    assert not troubles, "\n".join(troubles)


def test_the_explorer_is_named_throughout_and_used_by_keyboard_alone(browser, built_book):
    with opened(browser, viewport={"width": 1280, "height": 900}) as (page, troubles):
        page.goto(f"file://{built_book}/book/executed/10_explorer.html")
        settle(page)
        box = page.locator(WIDGET).first
        assert box.evaluate(NAMELESS) == [] and box.locator("[role=status]").inner_text()
        first = box.locator(".point[tabindex='0']")
        first.focus()
        told = [box.locator(".detail").inner_text()]
        page.keyboard.press("ArrowRight")
        told.append(box.locator(".detail").inner_text())
        assert "AUC" in told[0] and "AUC" in told[1] and told[0] != told[1]
        family, before = box.locator(".keys button:not([aria-disabled=true])").first, box.locator(".point").count()
        family.focus()
        page.keyboard.press("Enter")
        assert family.get_attribute("aria-pressed") == "false"
        assert family.evaluate("node => node === document.activeElement")
        assert 0 < box.locator(".point").count() < before
    assert not troubles, "\n".join(troubles)
