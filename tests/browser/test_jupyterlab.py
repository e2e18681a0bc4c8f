"""What a reader does: open a notebook in JupyterLab, Run All, move an Explorer by keyboard and mouse, reset it.

The picture is compared as composited on screen, the height in every animation frame. A notebook is cut after its first
Explorer: nbval has run the rest, and the sweep has moved the others.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from tools.site.browser import axe

pytestmark = pytest.mark.xdist_group("browser")  # one server and one browser, whichever way tests are distributed
NOTEBOOKS = [
    path.name
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))
    if "lab.Explorer(" in path.read_text(encoding="utf-8")
]
SETUP = """import numpy as np
from helpers import lab

lab.style.use()"""
# Captions of one line and of two, an error of two: the height must not follow them.
PICTURE = """class Wave:
    def __init__(self, figure):
        self.x = np.linspace(0, 6, 100)
        axes = figure.subplots()
        (self.line,) = axes.plot(self.x, 0 * self.x)
        axes.set_ylim(-3, 3)

    def update(self, frequency, amplitude):
        if frequency == 3:
            raise ValueError("frequency must not be 3" + ", and this message takes more than a single line" * 3)
        self.line.set_ydata(amplitude * np.sin(frequency * self.x))
        more = " That is the highest of its frequencies." * 3 if frequency == 5 else ""
        return f"The wave of frequency {frequency} has amplitude {amplitude:.1f}.{more}"
"""
EXPLORER = """lab.Explorer(
    Wave,
    frequency=lab.slider("frequency k", 1, 5, 1, value=2),
    amplitude=lab.slider("amplitude a", 0.0, 3.0, 0.1, value=1.0),
)"""


def until(page: Page, holds: Callable[[], bool], expected: str, seconds: float = 10) -> None:
    """Wait for something to become true, and say what it was when it does not."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"not so within {seconds:g} s: {expected}")
        page.wait_for_timeout(50)


class Shown:
    """An Explorer on screen."""

    def __init__(self, page: Page) -> None:
        panel = page.locator(".jp-NotebookPanel:visible")
        boxes = panel.locator(".widget-vbox:has(> img.widget-image):has(.noUi-handle)")
        self.page, self.box = page, boxes.first
        self.box.wait_for()
        self.box.scroll_into_view_if_needed()
        self.image = self.box.locator("> img.widget-image")
        self.handles = self.box.locator(".noUi-handle")

    @property
    def caption(self) -> str:
        return self.box.locator("[role=status]").inner_text()

    @property
    def numbers(self) -> list[str]:
        return re.findall(r"\d+(?:\.\d+)?", self.caption)

    @property
    def pixels(self) -> bytes:
        return self.image.screenshot()

    def watch_height(self) -> None:
        self.box.evaluate(
            "box => { const seen = window.heights = new Set(), output = box.closest('.jp-OutputArea'), step = () => {"
            " seen.add(output.getBoundingClientRect().height); if (window.heights === seen) requestAnimationFrame(step)"
            " }; step() }"
        )

    def expect_one_height(self) -> None:
        heights = self.page.evaluate("{ const seen = [...window.heights]; window.heights = null; seen }")
        assert len(heights) == 1, f"the output changes its height: {heights} px"

    def expect_change(self, act: Callable[[], None], what: str) -> None:
        """Do something; picture and numbers must follow."""
        pixels, numbers = self.pixels, self.numbers
        act()
        until(self.page, lambda: self.numbers != numbers, f"{what} changes the caption's numbers, {numbers}")
        until(self.page, lambda: self.pixels != pixels, f"{what} changes the picture")

    def press(self, slider: Locator, key: str) -> None:
        slider.focus()
        self.page.keyboard.press(key)

    def drag(self, slider: Locator, to: float) -> None:
        """Drag a handle in small steps to a fraction of its track."""
        handle = slider.bounding_box()
        track = slider.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]").bounding_box()
        y, start = handle["y"] + handle["height"] / 2, handle["x"] + handle["width"] / 2
        self.page.mouse.move(start, y)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + to * track["width"], y, steps=20)
        self.page.mouse.up()


@pytest.mark.parametrize("notebook", ["generated.ipynb", *NOTEBOOKS])
def test_reader_moves_the_first_explorer(lab, notebook):
    if notebook == "generated.ipynb":
        lab.write(notebook, SETUP, PICTURE.replace("== 3", "is None"), EXPLORER)
    else:
        lab.cut(notebook, "slider(")  # an Explorer without one is moved by the sweep only
    assert lab.run_all(notebook) == []
    shown = Shown(lab.page)
    slider = shown.handles.first
    first = shown.pixels, shown.caption
    shown.watch_height()
    at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    shown.expect_change(lambda: shown.press(slider, "Home" if at_end else "End"), "a key")
    shown.expect_change(lambda: shown.drag(slider, 0.9 if at_end else 0.1), "dragging the handle")
    shown.box.get_by_role("button", name="Reset").click()
    until(lab.page, lambda: shown.caption == first[1], "Reset brings the first caption back")
    until(lab.page, lambda: shown.pixels == first[0], "Reset brings the first picture back")
    shown.expect_one_height()


def test_a_failing_position_says_so_in_place_and_the_next_one_recovers(lab):
    lab.write("failing.ipynb", SETUP, PICTURE, EXPLORER)
    assert lab.run_all("failing.ipynb") == []
    shown = Shown(lab.page)
    slider = shown.handles.first
    shown.watch_height()
    pixels = shown.pixels
    shown.press(slider, "ArrowRight")
    until(lab.page, lambda: "ValueError: frequency must not be 3" in shown.caption, "the error is shown in words")
    assert "This position failed" in shown.caption
    shown.press(slider, "ArrowRight")
    until(lab.page, lambda: shown.numbers == ["4", "1.0"], "the next position has its caption")
    assert "failed" not in shown.caption
    until(lab.page, lambda: shown.pixels != pixels, "the next position has its picture")
    shown.expect_one_height()


RUNNING = (
    PICTURE.replace("frequency, amplitude)", "frequency, amplitude, **others)").replace("== 3", "is None")
    + """
    def run(self, progress, **values):
        for _ in progress(range(10), "ten steps"):
            time.sleep(0.1)
        self.runs = getattr(self, "runs", 0) + 1
        return f"Run number {self.runs}."
"""
)
EVERY_CONTROL = """lab.Explorer(
    Wave,
    run="Run it",
    frequency=lab.slider("frequency k", 1, 5, 1, value=2),
    amplitude=lab.log_slider("amplitude a", 0.1, 3.0, value=1.0),
    kind=lab.choice("kind", ["one", "other"]),
    many=lab.choice("many", list("abcdef")),
    show=lab.toggle("show"),
    words=lab.text("words", value="some"),
)"""
ACTIVE = "document.activeElement"


@pytest.fixture
def explorer(lab, request):
    notebook = f"{request.node.name}.ipynb"
    lab.write(notebook, SETUP + "\nimport time", RUNNING, EVERY_CONTROL)
    assert lab.run_all(notebook) == []
    shown = Shown(lab.page)
    until(lab.page, lambda: shown.image.get_attribute("alt"), "the picture has a name")
    return shown


def test_an_explorer_is_accessible_and_its_captions_are_announced(lab, explorer):
    assert axe(lab.page, context={"include": [[".jp-OutputArea-output"]]}) == []
    first, second = explorer.handles.all()[:2]
    assert [handle.get_attribute("aria-label") for handle in (first, second)] == ["frequency k", "amplitude a"]
    live = explorer.box.locator("[aria-live=polite]")
    lab.page.evaluate("live => { window.live = live }", live.element_handle())
    explorer.expect_change(lambda: explorer.press(second, "End"), "a key")
    until(lab.page, lambda: second.get_attribute("aria-valuetext") == "3", "a log slider tells its value")
    assert lab.page.evaluate("live.isConnected && live.textContent") == "The wave of frequency 2 has amplitude 3.0."
    assert live.count() == 1


def test_an_explorer_is_used_with_the_keyboard_alone(lab, explorer):
    button = explorer.box.get_by_role("button", name="Run it")
    explorer.handles.first.focus()
    reached = set()
    for _ in range(14):
        reached.add(lab.page.evaluate(f"{ACTIVE}.getAttribute('aria-label') ?? {ACTIVE}.textContent"))
        if button.evaluate(f"button => button === {ACTIVE}"):
            break
        lab.page.keyboard.press("Tab")
    assert reached >= {"frequency k", "amplitude a", "one", "other", "Reset", "Run it"}
    lab.page.keyboard.press("Enter")
    until(lab.page, lambda: explorer.box.locator("progress").is_visible(), "the bar is seen")
    lab.page.keyboard.press("Enter")  # a second press while it works is no second run
    until(lab.page, lambda: explorer.caption == "Run number 1.", "the run ends")
    assert button.evaluate(f"button => button === {ACTIVE}"), "the button keeps the focus"
    lab.page.wait_for_timeout(500)
    assert explorer.caption == "Run number 1."
    lab.page.keyboard.press("Enter")
    until(lab.page, lambda: explorer.caption == "Run number 2.", "the next press runs it again")
