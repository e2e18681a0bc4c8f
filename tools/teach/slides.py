"""`make slides`: a reveal.js deck per lesson from the cells that its notebook marks, readable without a network.

A cell is on a slide when its metadata say ``slideshow.slide_type: slide`` (JupyterLab: Property Inspector); ``notes``
makes its text the speaker's notes of the slide before; any other cell is left out. A text cell shows its text, a code
cell its outputs. Folded answers become notes, the table of claims is reduced to claim and verdict.
"""

import argparse
import html
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import markdown2html
from nbformat import NotebookNode

from tools.browser import NONE, chromium, find_chromium
from tools.links import unlinked
from tools.mathjax import copy_mathjax
from tools.notebooks import ROOT, Notebook
from tools.teach.browser import inspect

OUT = ROOT / "build" / "slides"
WIDTH, HEIGHT = 1280, 720
REVEAL = ("LICENSE", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "plugin/notes/speaker-view.html")
KINDS = ("slide", "notes")

_DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
_HEADINGS = re.compile(r"(?:#{1,6} .*\n*)+")
_CLAIM = re.compile(r"^\| (C\d+ .*?) \|.*\| \*\*(.+?)\*\* \|$", re.MULTILINE)


@dataclass
class Slide:
    """One slide: HTML of its heading, of what stands below it and of the speaker's notes; the cell it comes from."""

    cell: int
    section: str
    title: str
    body: str
    notes: list[str] = field(default_factory=list)


def kind_of(cell: NotebookNode) -> str:
    """What a cell is for: ``slide``, ``notes`` or ""."""
    return cell.metadata.get("slideshow", {}).get("slide_type", "")


def slides_of(notebook: Notebook) -> list[Slide]:
    """The slides of a notebook, in order.

    Raises
    ------
    ValueError
        When a mark is unknown, notes stand before the first slide, or a marked code cell has nothing to show.
    """
    slides: list[Slide] = []
    for k, cell in enumerate(notebook.node.cells):
        if not (kind := kind_of(cell)):
            continue
        if kind not in KINDS or (kind == "notes" and not slides):
            raise ValueError(f"{notebook.at(k)}: slide_type {kind!r} must be 'slide', or 'notes' after a slide")
        if kind == "notes":
            slides[-1].notes.append(_text(cell.source))
        else:
            slides.append(_slide(notebook, k, cell))
    return slides


def _slide(notebook: Notebook, k: int, cell: NotebookNode) -> Slide:
    section, title = _headings_above(notebook, k)
    if cell.cell_type == "code":
        body = "".join(_outputs(cell))
        if not body:
            raise ValueError(f"{notebook.at(k)}: is marked as a slide and has no output to show")
        return Slide(k, section, title, body)
    answers = [_text(f"**{summary}**\n\n{text}") for summary, text in _DETAILS.findall(cell.source)]
    text = _DETAILS.sub("", cell.source)
    return Slide(k, section, title, _text(_HEADINGS.sub("", text, count=1) if text.startswith("#") else text), answers)


def _headings_above(notebook: Notebook, cell: int) -> tuple[str, str]:
    """The section and the nearest heading that stand above a cell or open it, as HTML; equal in a section's opening."""
    opening = _HEADINGS.match(notebook.node.cells[cell].source)
    last = len(opening[0].strip().splitlines()) if opening else 0
    section = title = ""
    for line in notebook.lines:
        if line.cell > cell or (line.cell == cell and not last):
            break
        if line.kind == "heading":
            level, _, words = line.text.partition(" ")
            title = words.strip()
            section = title if len(level) <= 2 else section
        last -= line.cell == cell
    return _inline(section), _inline(title)


def _outputs(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            alt = html.escape(data["text/plain"])
            yield f'<img src="data:image/png;base64,{data["image/png"].strip()}" alt="{alt}">'
        elif "text/markdown" in data:
            yield _claims(data["text/markdown"]) or _text(data["text/markdown"])
        elif output.output_type == "stream":
            yield f"<pre>{html.escape(output.text.rstrip())}</pre>"


def _claims(table: str) -> str:
    """Of the table of claims: claim and verdict, and the sentence below it; "" of any other text."""
    rows = _CLAIM.findall(table)
    if not rows:
        return ""
    body = "".join(
        f'<tr><td>{_inline(claim)}</td><td class="{verdict.replace(" ", "-")}">{verdict}</td></tr>'
        for claim, verdict in rows
    )
    return f'<table class="claims">{body}</table>{_text(table.rpartition("|")[2])}'


def _text(markdown: str) -> str:
    """HTML of markdown; links inside the collection become plain text, for nothing lies beside a deck."""
    return markdown2html(unlinked(markdown.strip()))


def _inline(markdown: str) -> str:
    return re.sub(r"^<p>|</p>$", "", _text(markdown.replace("\\|", "|")).strip())


# ---------------------------------------------------------------- files


def write(paths: list[Path], out: Path = OUT) -> list[str]:
    """Write the decks, a page that lists them and the assets; a line of report each.

    Raises
    ------
    ValueError
        When a lesson has no slides, or one of them cannot be made.
    """
    assets = out / "assets"
    mathjax = copy_mathjax(assets / "mathjax")
    _copy_reveal(assets / "reveal")
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=False, trim_blocks=True)
    given = {"width": WIDTH, "height": HEIGHT, "mathjax": mathjax.relative_to(out).as_posix()}
    decks, said = [], []
    for path in paths:
        notebook = Notebook.read(path)
        if not (slides := slides_of(notebook)):
            raise ValueError(f"{notebook.name}: no cell carries slideshow.slide_type 'slide'; mark about ten of them")
        title = html.escape(notebook.lines[0].text.removeprefix("# ").replace("`", ""))
        page = environment.get_template("slides.html.j2").render(**given, title=title, slides=slides)
        target = out / f"{path.stem}.html"
        target.write_text(page, encoding="utf-8", newline="\n")
        decks.append((target.name, title, len(slides)))
        said.append(f"{target.name}: {len(slides)} slides, {target.stat().st_size / 1e3:,.0f} kB")
    index = environment.get_template("slides_index.html.j2").render(decks=decks)
    (out / "index.html").write_text(index, encoding="utf-8", newline="\n")
    return said


def _copy_reveal(folder: Path) -> None:
    """reveal.js as the package sphinx-revealjs carries it, found without importing Sphinx."""
    found = util.find_spec("sphinx_revealjs")
    if found is None:
        raise ModuleNotFoundError("sphinx-revealjs is missing, which carries reveal.js: pip install -e '.[teach]'")
    source = Path(found.origin).parent / "_static" / "revealjs"
    for name in REVEAL:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def look(decks: list[Path]) -> list[str]:
    """Complaints of a browser about decks; none where there is no browser."""
    path = find_chromium()
    if path is None:
        print(f"{NONE}; nobody has seen whether the slides fit")
        return []
    with chromium(path) as browser:
        return [f"{deck.name}: {said}" for deck in decks for said in inspect(browser, deck, WIDTH, HEIGHT)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.teach.slides", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("paths", nargs="*", type=Path, metavar="path", help="notebooks; all lessons without any")
    options = parser.parse_args(arguments)
    lessons = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if not path.name.startswith("00")]
    paths = options.paths or lessons
    try:
        said = write(paths, options.out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(*said, f"open {options.out / 'index.html'}", sep="\n")
    wrong = look([options.out / f"{path.stem}.html" for path in paths])
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
