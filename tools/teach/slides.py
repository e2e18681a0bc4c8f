"""`make slides`: a reveal.js deck per lesson from the cells that its notebook marks, readable without a network.

A cell is on a slide when its metadata say ``slideshow.slide_type: slide`` (JupyterLab: Property Inspector);
``fragment`` adds it to the slide before, where the next key shows it; ``notes`` makes its text the speaker's notes of
that slide; any other cell is left out. A text cell shows its text, a code cell its outputs. Folded answers become
notes, the table of claims is reduced to claim and verdict, and the verdict of *In one minute* follows that table.

Each question of the lesson's page in ``course/lecturer`` is a slide too, its answer in the notes. It stands where the
first heading to which the answer links begins: before the first slide at or below that heading.
"""

import argparse
import base64
import html
import io
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from PIL import Image

from helpers.lab.figures import png, without_caption
from tools.browser import NONE, chromium, find_chromium
from tools.links import unlinked
from tools.mathjax import copy_mathjax
from tools.notebooks import ROOT, Notebook
from tools.teach.browser import inspect

OUT = ROOT / "build" / "slides"
PAGES = ROOT / "course" / "lecturer"
WIDTH, HEIGHT = 1280, 720
REVEAL = ("LICENSE", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "plugin/notes/speaker-view.html")
KINDS = ("slide", "fragment", "notes")

_DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
_HEADINGS = re.compile(r"(?:#{1,6} .*\n*)+")
_CLAIM = re.compile(r"^\| (C\d+ .*?) \|.*\| \*\*(.+?)\*\* \|$", re.MULTILINE)
_MINUTE = "In one minute"
_PART = re.compile(r"^\*\*(The (?:claim|picture|verdict))\b\.?\*\*:?\s+", re.MULTILINE)  # what that section is made of
_SETTINGS = re.compile(r"\s*\[[^\]]*run the cell to move it\]$")  # on a slide nothing moves
_QUESTIONS = re.compile(r"^## Questions to ask$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """One question of a lecturer's page: its words, its choices or parts (a list), the expected answer; markdown."""

    number: int
    words: str
    choices: str
    answer: str


@dataclass
class Slide:
    """One slide: HTML of its heading, of what stands below it and of the speaker's notes; where it comes from."""

    source: str
    section: str
    title: str
    body: str
    notes: list[str] = field(default_factory=list)
    asks: bool = False


def kind_of(cell: NotebookNode) -> str:
    """What a cell is for: ``slide``, ``fragment``, ``notes`` or ""."""
    return cell.metadata.get("slideshow", {}).get("slide_type", "")


# ---------------------------------------------------------------- which slides, in which order


def questions_of(page: str) -> list[Question]:
    """The questions of a lecturer's page, counted from 1; none in a text without the section *Questions to ask*."""
    section = _QUESTIONS.search(page)
    asked = re.split(r"^### ", section[1], flags=re.MULTILINE)[1:] if section else []
    found = []
    for number, text in enumerate(asked, start=1):
        words, _, below = text.partition("\n")
        choices, _, answer = below.partition("**Expect**: ")
        found.append(Question(number, re.sub(r"^\d+\. ", "", words), choices.strip(), answer.strip()))
    return found


def order(notebook: Notebook, page: str = "") -> list[int | Question]:
    """What the slides of a deck show, in order: marked cells by their number, and the questions of the page.

    A question whose answer links to no heading of the notebook stands before the table of claims.
    """
    cells = notebook.node.cells
    deck: list[int | Question] = [k for k, cell in enumerate(cells) if kind_of(cell) == "slide"]
    claims = next((k for k in deck if any(_CLAIM.search(text) for text in _markdown_of(cells[k]))), len(cells))
    for verdict in [k for k in deck if cells[k].source.startswith("**The verdict**") and claims in deck]:
        deck.remove(verdict)
        deck.insert(deck.index(claims) + 1, verdict)
    headings = {_anchor(line.text): line.cell for line in reversed(notebook.lines) if line.kind == "heading"}
    for question in questions_of(page):
        link = re.search(r"\]\([^)]*?#([^)]*)\)", question.answer)
        start = headings.get(unquote(link[1]), claims) if link else claims
        place = (n for n, one in enumerate(deck) if isinstance(one, int) and one >= start)
        deck.insert(next(place, len(deck)), question)
    return deck


def _anchor(heading: str) -> str:
    """How a link names a heading."""
    return re.sub(r"[*`]", "", heading.lstrip("#").strip()).replace(" ", "-")


def _markdown_of(cell: NotebookNode) -> list[str]:
    return [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]


# ---------------------------------------------------------------- what is on them


def slides_of(notebook: Notebook, page: str = "") -> list[Slide]:
    """The slides of a notebook and of its lecturer's page, in order.

    Raises
    ------
    ValueError
        When a mark is unknown, a fragment or notes stand before the first slide, or a marked code cell has nothing to
        show.
    """
    made: dict[int, Slide] = {}
    last: Slide | None = None
    titles: list[tuple[str, str]] = []  # of In one minute: of the slides to come
    for k, cell in enumerate(notebook.node.cells):
        if not (kind := kind_of(cell)):
            continue
        if kind not in KINDS or (kind != "slide" and last is None):
            raise ValueError(f"{notebook.at(k)}: slide_type {kind!r} must be 'slide', or {KINDS[1:]} after a slide")
        if kind == "notes":
            last.notes.append(_text(cell.source))
            continue
        slide = _slide(notebook, k, cell)
        if kind == "fragment":
            last.body += f'<div class="fragment">{slide.body}</div>'
            last.notes += slide.notes
            continue
        made[k] = last = slide
        if slide.section != _MINUTE:
            continue
        if cell.cell_type == "markdown" and (parts := _PART.split(_HEADINGS.sub("", cell.source, count=1))[1:]):
            (slide.title, text), *titles = zip(parts[::2], parts[1::2], strict=True)
            slide.body = _text(text)
        elif titles:
            slide.title, text = titles.pop(0)
            slide.notes.append(_text(text))
    return [_asked(one) if isinstance(one, Question) else made[one] for one in order(notebook, page)]


def _asked(question: Question) -> Slide:
    words, choices = _inline(question.words), _text(question.choices)
    source = f"question {question.number}"
    return Slide(source, source.capitalize(), words, choices, [_text(f"**Expect**: {question.answer}")], asks=True)


def _slide(notebook: Notebook, k: int, cell: NotebookNode) -> Slide:
    section, title = _headings_above(notebook, k)
    if cell.cell_type == "code":
        body = "".join(_outputs(cell))
        if not body:
            raise ValueError(f"{notebook.at(k)}: is marked as a slide and has no output to show")
        return Slide(f"cell {k}", section, title, body)
    answers = [_text(f"**{summary}**\n\n{text}") for summary, text in _DETAILS.findall(cell.source)]
    text = _DETAILS.sub("", cell.source)
    text = _HEADINGS.sub("", text, count=1) if text.startswith("#") else text
    return Slide(f"cell {k}", section, title, _text(text), answers)


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
            yield _picture(data["image/png"], data["text/plain"])
        elif "text/markdown" in data:
            yield _claims(data["text/markdown"]) or _text(data["text/markdown"])
        elif output.output_type == "stream":
            yield f"<pre>{html.escape(output.text.rstrip())}</pre>"


def _picture(data: str, caption: str) -> str:
    """A picture with its caption as text, large enough for the last row, where the notebook has it in the pixels."""
    rgb = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    bare = base64.b64encode(png(without_caption(rgb, caption), compress_level=9)).decode()
    return (
        f'<figure><img src="data:image/png;base64,{bare}" alt="The picture that the caption below puts in numbers">'
        f"<figcaption>{html.escape(_SETTINGS.sub('', caption))}</figcaption></figure>"
    )


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
        if not (slides := slides_of(notebook, page_of(path))):
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


def page_of(path: Path) -> str:
    """The lecturer's page of a lesson; "" where there is none."""
    page = PAGES / f"{path.stem}.md"
    return page.read_text(encoding="utf-8") if page.exists() else ""


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
