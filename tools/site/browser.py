"""What the pages of the built site do in a real browser: errors, requests, maths, playable figures, accessibility."""

from collections.abc import Iterator
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tools.browser import open_page

PHONE = {"width": 390, "height": 844}
# WCAG 2.2 A and AA and axe's best practices, but for one: the theme's two switches stand outside its landmarks.
AXE = {"resultTypes": ["violations"], "preload": False, "rules": {"region": {"enabled": False}}}
# Contrast is measured element by element: of equal pieces of highlighted code one is enough, and of the maths none
# (it has the colour of the text around it).
_THIN_OUT = """() => {
  document.querySelectorAll("mjx-container").forEach((maths) => maths.replaceWith("x"));
  const seen = new Set();
  document.querySelectorAll("pre span[class]").forEach((span) => {
    const kind = `${span.className} ${span.closest("[class*=highlight-]")?.className}`;
    if (seen.has(kind)) span.replaceWith(...span.childNodes);
    seen.add(kind);
  });
}"""


def typeset(page: Page) -> None:
    """Wait until MathJax has done its work, where there is any."""
    page.evaluate("window.MathJax?.startup?.promise")


def maths(page: Page) -> list[str]:
    """Complaints about formulas: not typeset, or typeset as an error."""
    raw = page.locator(".math:not(:has(mjx-container))").all_inner_texts()
    wrong = page.locator("mjx-merror").evaluate_all("all => all.map(one => one.dataset.mjxError ?? one.textContent)")
    return [f"not typeset: {text}" for text in raw] + [f"a formula that is wrong: {text}" for text in wrong]


def figures(page: Page) -> list[str]:
    """Move every playable figure by keyboard from end to end; complaints where something does not follow."""
    return [fault for figure in page.locator("figure.playable").all() for fault in _move(figure)]


def _move(figure) -> Iterator[str]:
    slider = figure.locator("input[type=range]")
    name = slider.get_attribute("id")
    told = figure.locator("script").evaluate("script => JSON.parse(script.textContent)")
    last = len(told["values"]) - 1
    slider.focus()
    for key, place in (("Home", 0), ("ArrowRight", 1), ("End", last)):
        slider.press(key)
        figure.locator("img").evaluate("img => img.decode()")
        shown = figure.locator("img").get_attribute("src")
        if not shown.endswith(f"/{place}.webp"):
            yield f"{name}: {key} shows {shown}, not frame {place}"
        if figure.locator("[aria-live]").inner_text() != " ".join(told["captions"][place].split()):
            yield f"{name}: {key} leaves the caption of another position"
        if slider.get_attribute("aria-valuetext") != told["values"][place]:
            yield f"{name}: {key} leaves the value text of another position"
    figure.get_by_role("button", name="Reset").click()
    if slider.input_value() != figure.get_attribute("data-start"):
        yield f"{name}: Reset does not bring the default back"


def accessibility(page: Page) -> list[str]:
    """What axe-core finds in the light and the dark theme and on a phone; it leaves the page thinned out."""
    page.evaluate(_THIN_OUT)
    found = [f"light: {fault}" for fault in axe(page)]
    page.emulate_media(color_scheme="dark")
    found += [f"dark: {fault}" for fault in axe(page, AXE | {"runOnly": ["color-contrast"]})]
    page.set_viewport_size(PHONE)
    if (wide := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
        found.append(f"phone: {wide} px wider than the screen")
    same_colours = AXE | {"rules": AXE["rules"] | {"color-contrast": {"enabled": False}}}  # half of axe's time
    return found + [f"phone: {fault}" for fault in axe(page, same_colours)]


def axe(page: Page, options: dict | None = None, context: dict | None = None) -> list[str]:
    """What axe-core finds on the page as it stands."""
    response = Axe().run(page, context=context, options=options or AXE).response
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {node['html'][:200]}"
        for fault in response["violations"]
        for node in fault["nodes"]
    ]


def inspect(browser: Browser, path: Path) -> list[str]:
    """Complaints about one page: what it loads and says, its maths, its figures, its accessibility."""
    page, found = open_page(browser, path)
    typeset(page)
    found += maths(page) + figures(page) + accessibility(page)
    page.close()
    return list(dict.fromkeys(found))
