"""What the slides of a deck do in a real browser: they stay on the screen, can be read, and ask nobody for anything."""

from pathlib import Path

from playwright.sync_api import Browser

from tools.browser import open_page

SMALLEST = 16  # pixels of 720: what the last row can still read
_MEASURE = """() => [...document.querySelectorAll(".slides > section")].map(slide => {
  const content = slide.querySelector(".content"), frame = slide.getBoundingClientRect();
  const edges = [...slide.querySelectorAll("*")].filter(part =>
    !part.closest("mjx-assistive-mml, aside, mjx-stretchy-v, mjx-stretchy-h") && part.getClientRects().length
  ).map(part => part.getBoundingClientRect());
  return {
    source: slide.dataset.source,
    pixels: parseFloat(getComputedStyle(content).fontSize),
    right: Math.max(...edges.map(edge => edge.right)) - frame.right,
    bottom: Math.max(...edges.map(edge => edge.bottom)) - frame.bottom,
    pictures: [...content.querySelectorAll("img")].filter(picture => !picture.naturalWidth || !picture.alt).length,
    raw: content.innerText.match(/\\$|\\\\[a-z]+\\{/)?.[0],
    wrong: [...content.querySelectorAll("mjx-merror")].map(one => one.dataset.mjxError ?? one.textContent),
  };
})"""


def inspect(browser: Browser, deck: Path, width: int, height: int) -> list[str]:
    """Complaints about one deck on a screen of that size; slides are named by their cell or question."""
    page, found = open_page(browser, deck, {"width": width, "height": height})
    page.wait_for_selector("body[data-ready]")
    for slide in page.evaluate(_MEASURE):
        where = f"the slide of {slide['source']}"
        if (over := max(slide["right"], slide["bottom"])) > 1:
            found.append(f"{where} is {over:.0f} px larger than the screen; show less on it")
        if slide["pixels"] < SMALLEST:
            found.append(f"{where} needs letters of {slide['pixels']:g} px, at least {SMALLEST}; show less on it")
        if slide["pictures"]:
            found.append(f"{where} has a picture that is not shown or has no text instead")
        if slide["raw"]:
            found.append(f"{where} shows {slide['raw']!r}: maths that is not typeset")
        found += [f"{where} has a formula that is wrong: {error}" for error in slide["wrong"]]
    page.close()
    return found
