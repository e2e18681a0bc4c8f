"""From slider to pixels: `helpers.lab.Explorer` against `ipywidgets.interact` in a real JupyterLab.

Run ``python benchmarks/explorer_latency.py`` from the root of the repository. Both show the same figure in one
notebook and are moved in turn: single key presses first, then mouse drags of 2 s. The figure carries the slider's
value as a bar code in its corner, so that the page can tell in every animation frame which value it shows.
The exit code is 1 when the Explorer takes more than half of interact's time, shows a blank frame, changes its height
or does not end on the newest value within the time of two pictures of the drag.
"""

import base64
import io
import math
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

import numpy as np

ROOT = Path(__file__).parents[1]
MOVES, BLOCK, DRAGS, DRAG_SECONDS = 36, 6, 3, 2.0
BITS, CELL = 8, 8  # the bar code: BITS black or white cells of CELL pixels between two magenta ones


class Waves:
    """Two panels, six curves of 400 points, a 64 × 64 field; everything moves with the phase."""

    def __init__(self, figure) -> None:
        self.x = np.linspace(0, 4 * np.pi, 400)
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        self.lines = [left.plot(self.x, 0 * self.x, label=f"order {k + 1}")[0] for k in range(6)]
        left.set(xlim=(0, 4 * np.pi), ylim=(-7, 7), xlabel="x", ylabel="wave", title="six waves and their product")
        left.legend(loc="upper right", ncols=3)
        left.grid(True)
        self.u, self.v = np.meshgrid(np.linspace(-3, 3, 64), np.linspace(-3, 3, 64))
        self.field = right.imshow(self.u, vmin=-1, vmax=1, origin="lower", extent=(-3, 3, -3, 3), aspect="auto")
        right.set(xlabel="u", ylabel="v")
        width, height = 100 * figure.get_size_inches()
        corner = figure.add_axes((0, 0, CELL * (BITS + 2) / width, CELL / height))
        corner.set_axis_off()
        self.code = corner.imshow(np.zeros((1, BITS + 2, 3)), aspect="auto", interpolation="nearest")

    def update(self, phase: int) -> str:
        angle = phase / 20
        for k, line in enumerate(self.lines):
            line.set_ydata((k + 1) * np.sin(self.x / (k + 1) + angle) * np.cos(angle / 3))
        self.field.set_data(np.sin(self.u * self.v + angle))
        cells = np.ones((1, BITS + 2, 3)) * [[[1, 0, 1]]]
        cells[0, 1:-1] = [[phase >> bit & 1] for bit in range(BITS)]
        self.code.set_data(cells)
        return f"phase {angle:.2f}"


def rebuild(phase: int) -> None:
    """What one writes for `interact`: a new figure for every value."""
    import matplotlib.pyplot as plt

    Waves(plt.figure(figsize=(9, 3.6))).update(phase)
    plt.show()


CELLS = (
    "%matplotlib inline\nimport ipywidgets\nfrom benchmarks.explorer_latency import Waves, rebuild\n"
    "from helpers import lab\nlab.style.use()",
    "lab.Explorer(Waves, phase=lab.slider('phase φ', 0, 200, 1, value=40))",
    "_ = ipywidgets.interact(rebuild, phase=ipywidgets.IntSlider(40, 0, 200))",
)

# Decodes the bar code of a picture (null when there is none to be seen) and logs every animation frame. While an
# <img> loads its next picture, Chromium keeps the last one on screen but hands out neither: `last` stands in for it.
SCRIPT = """([bits, cell]) => {
  const boxes = [...document.querySelectorAll('.jp-CodeCell')].slice(1).map(c => c.querySelector('.jp-OutputArea'))
  const canvas = new OffscreenCanvas(1, 1), ink = canvas.getContext('2d', {willReadFrequently: true})
  const places = {}, last = new WeakMap()
  const magenta = (d, i) => d[i] > 240 && d[i + 1] < 15 && d[i + 2] > 240
  const find = (img, key) => {
    canvas.width = img.naturalWidth; canvas.height = img.naturalHeight
    ink.drawImage(img, 0, 0)
    const d = ink.getImageData(0, 0, canvas.width, canvas.height).data
    for (let i = 0; i < d.length; i += 4) if (magenta(d, i))
      return places[key] = [(i / 4) % canvas.width, Math.floor(i / 4 / canvas.width)]
  }
  const shown = box => {
    const img = [...box.querySelectorAll('img')].pop()
    if (img && last.get(img) !== undefined && !img.complete) return last.get(img)
    if (!img || !img.naturalWidth) return null
    const key = `${img.naturalWidth}x${img.naturalHeight}`
    const place = places[key] ?? find(img, key)
    if (!place) return null
    const width = cell * (bits + 2)
    ink.drawImage(img, place[0], place[1], width, cell, 0, 0, width, cell)
    const d = ink.getImageData(0, cell / 2, width, 1).data
    const at = k => 4 * (cell * k + cell / 2)
    if (!magenta(d, at(0)) || !magenta(d, at(bits + 1))) return null
    let value = 0
    for (let k = 0; k < bits; k++) if (d[at(k + 1)] > 127) value |= 1 << k
    last.set(img, value)
    return value
  }
  const slider = box => Math.round(box.querySelector('.noUi-handle').getAttribute('aria-valuenow'))
  let pressed = 0, log = null
  document.addEventListener('keydown', event => { pressed = event.timeStamp }, true)
  const frame = step => requestAnimationFrame(() => { if (step(performance.now())) frame(step) })
  window.probe = {
    boxes, shown,
    arrival: (k, value) => { window.pending = new Promise(done => frame(now =>
      shown(boxes[k]) !== value || (done(now - pressed), false))) },
    record: k => { log = []; frame(now => log && log.push([
      now, shown(boxes[k]), slider(boxes[k]), boxes[k].getBoundingClientRect().height])) },
    settle: (k, limit) => new Promise(done => { const start = performance.now(); frame(now =>
      (shown(boxes[k]) !== slider(boxes[k]) && now < start + limit) || (done(), false)) }),
    stop: () => { const result = log; log = null; return result },
  }
}"""


def drag(page, k: int) -> None:
    """Drag the handle to and fro for 2 s and stop in full motion, the button still held."""
    handle = page.locator(".noUi-handle").nth(k).bounding_box()
    track = page.locator(".noUi-base").nth(k).bounding_box()
    y = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    start = time.perf_counter()
    while (now := time.perf_counter() - start) < DRAG_SECONDS:
        page.mouse.move(track["x"] + track["width"] * (0.5 + 0.45 * math.sin(2 * math.pi * (now - DRAG_SECONDS))), y)
        time.sleep(0.008)


def measure_drag(page, k: int) -> dict[str, float]:
    """One recorded drag: lag (ms), pictures per second, blank frames, height changes, whether it ended right."""
    page.evaluate(f"probe.record({k})")
    drag(page, k)
    page.evaluate(f"probe.settle({k}, 8000)")
    page.wait_for_timeout(500)  # nothing may follow the newest value
    page.mouse.up()
    frames = page.evaluate("probe.stop()")
    times, values, sliders, heights = zip(*frames, strict=True)
    newest = sliders[-1]
    moved = times[next(i for i in range(len(frames)) if all(value == newest for value in sliders[i:]))]
    ended_right = values[-1] == newest
    arrived = times[next(i for i in range(len(frames)) if set(values[i:]) == {newest})] if ended_right else math.inf
    during = [value for at, value in zip(times, values, strict=True) if at <= moved and value is not None]
    pictures = sum(a != b for a, b in pairwise(during))
    return {
        "lag": arrived - moved,
        "rate": 1000 * pictures / (moved - times[0]),
        "blank": values.count(None),
        "jumps": sum(a != b for a, b in pairwise(heights)),
        "right": ended_right,
    }


def blank_composited(page, k: int) -> tuple[int, int]:
    """Frames as composited to the screen during a drag: how many, and in how many the picture is missing."""
    from PIL import Image

    place = page.evaluate(f"(() => {{ const r = [...probe.boxes[{k}].querySelectorAll('img')].pop()"
                          ".getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] })()")  # fmt: skip
    screen = page.context.new_cdp_session(page)
    pictures = []

    def keep(event: dict) -> None:
        pictures.append(event["data"])
        screen.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    screen.on("Page.screencastFrame", keep)
    screen.send("Page.startScreencast", {"format": "png"})
    drag(page, k)
    page.wait_for_timeout(300)
    page.mouse.up()
    screen.send("Page.stopScreencast")
    page.wait_for_timeout(500)  # the last acknowledgements
    screen.detach()
    blank = 0
    for data in pictures:
        rgb = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").crop(place)).astype(int)
        blank += not np.any((rgb[..., 0] > 200) & (rgb[..., 1] < 60) & (rgb[..., 2] > 200))
    return len(pictures), blank


def measure(page) -> tuple[list[list[float]], list[list[dict]], list[tuple[int, int]]]:
    """Key presses, drags and composited frames of the two, in turn."""
    page.evaluate(SCRIPT, [BITS, CELL])
    rng = np.random.default_rng(0)
    handles = page.locator(".noUi-handle")
    moves: list[list[float]] = [[], []]
    for block in range(MOVES // BLOCK + 1):  # the first block warms up
        for k in (0, 1):
            handles.nth(k).scroll_into_view_if_needed()
            handles.nth(k).focus()
            for _ in range(BLOCK):
                page.wait_for_timeout(float(rng.uniform(100, 200)))
                value = round(float(handles.nth(k).get_attribute("aria-valuenow"))) + 1
                page.evaluate(f"probe.arrival({k}, {value})")
                page.keyboard.press("ArrowRight")
                took = page.evaluate("pending")
                if block:
                    moves[k].append(took)
    drags: list[list[dict]] = [[], []]
    for _ in range(DRAGS):
        for k in (0, 1):
            handles.nth(k).scroll_into_view_if_needed()
            drags[k].append(measure_drag(page, k))
    return moves, drags, [blank_composited(page, k) for k in (0, 1)]


def main() -> int:
    """Start JupyterLab and Chromium, measure, print the table."""
    sys.path.insert(0, str(ROOT / "tests/browser"))
    from conftest import chromium, find_chromium, jupyterlab, open_lab, run_all, write_notebook

    if (browser_path := find_chromium()) is None:
        sys.exit("no browser: install chromium, or set CHROMIUM to its path")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        write_notebook(folder / "work/latency.ipynb", *CELLS)
        with jupyterlab(folder) as url, chromium(browser_path) as browser:
            page = browser.new_page(viewport={"width": 1400, "height": 1300})
            open_lab(page, url)
            if errors := run_all(page, "latency.ipynb"):
                raise RuntimeError(f"the notebook failed: {errors}")
            page.wait_for_timeout(1000)
            moves, drags, composited = measure(page)

    print(f"key press to pixels: median [quartiles] of {MOVES}; {DRAGS} drags of {DRAG_SECONDS:g} s: medians and sums")
    print("| | ms | lag, ms | pictures/s | blank frames | of those composited | height changes | ends on newest |")
    print("|---|---|---|---|---|---|---|---|")
    for k, name in enumerate(("Explorer", "interact")):
        low, middle, high = quantiles(moves[k], n=4)
        lag, rate = (median(one[key] for one in drags[k]) for key in ("lag", "rate"))
        blank, jumps, right = (sum(one[key] for one in drags[k]) for key in ("blank", "jumps", "right"))
        frames, missing = composited[k]
        print(
            f"| {name} | {middle:.0f} [{low:.0f}, {high:.0f}] | {lag:.0f} | {rate:.1f} | {blank} "
            f"| {missing} of {frames} | {jumps} | {right} of {DRAGS} |"
        )
    ratio = median(moves[0]) / median(moves[1])
    print(f"ratio of the medians: {ratio:.2f}")
    problems = {
        "takes more than half of interact's time": ratio > 0.5,
        "blank frames": any(one["blank"] for one in drags[0]) or composited[0][1] > 0,
        "height changes": any(one["jumps"] for one in drags[0]),
        "does not end on the newest value": not all(one["right"] for one in drags[0]),
        "ends later than two pictures' time": any(one["lag"] > 2000 / one["rate"] for one in drags[0]),
    }
    for problem in (text for text, found in problems.items() if found):
        print(f"Explorer: {problem}")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
