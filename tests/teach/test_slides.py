"""Every lesson marks its slides; a deck asks its questions, needs no network and stays on a screen of 1280 × 720.

One deck is opened here, as a file, which is how a lecturer opens it; `make slides` looks at all of them.
"""

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

from helpers.lab.figures import StaticTwin, png
from tests import collection as see
from tests.collection import LESSONS
from tests.site.conftest import browser as browser
from tests.site.conftest import browser_path as browser_path
from tools.browser import open_page
from tools.notebooks import Notebook
from tools.teach import slides as tool
from tools.teach.browser import inspect
from tools.teach.slides import HEIGHT, KINDS, WIDTH, kind_of, page_of, questions_of, slides_of

COUNT = range(8, 15)
HOW = "metadata: slideshow: slide_type: slide; JupyterLab: Property Inspector"


def complaints(notebook: Notebook) -> list[str]:
    """What a lesson's slides lack."""
    marked = [k for k, cell in enumerate(notebook.node.cells) if kind_of(cell) == "slide"]
    places = {line.cell: line.section for line in notebook.lines}
    found = []
    if len(marked) not in COUNT:
        found.append(f"{len(marked)} slides, should be 8 to 14; mark cells with {HOW}")
    if marked[:1] != [0]:
        found.append("the first slide should be the title cell")
    for what, cells in (
        ("the picture of an Explorer", [k for k, _ in see.cells_that_call(notebook, "Explorer")]),
        ("the table of claims", [k for k, _ in see.cells_that_call(notebook, "claims")]),
        ("the key ideas", [k for k, section in places.items() if section == "Key ideas"]),
    ):
        if not set(cells) & set(marked):
            found.append(f"no slide shows {what}: mark one of the cells {cells}")
    for k, cell in enumerate(notebook.node.cells):
        if kind_of(cell) not in ("", *KINDS):
            found.append(f"cell {k}: slide_type {kind_of(cell)!r} is not one of {KINDS}")
        below = [line for line in notebook.lines if line.cell == k and line.text.strip()]
        late = [a.text for a, b in zip(below[1:], below, strict=False) if a.kind == "heading" and b.kind != "heading"]
        if kind_of(cell) and late:
            found.append(f"cell {k}: {late[0]!r} stands inside a slide; split the cell before it")
    return found


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_lesson_marks_its_slides(path):
    assert complaints(see.read(path)) == []


def unmark(node, *cells):
    for k in cells:
        node.cells[k].metadata.pop("slideshow", None)


def marked(notebook, word):
    return next(k for k, c in enumerate(notebook.node.cells) if kind_of(c) == "slide" and word in c.source)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("# Does", "the first slide should be the title cell"),
        ("lab.Explorer", "no slide shows the picture of an Explorer: mark one of the cells"),
        ("lab.claims", "no slide shows the table of claims"),
        ("## Key ideas", "no slide shows the key ideas"),
    ],
)
def test_a_missing_slide_is_noticed(word, said):
    notebook = Notebook.read(LESSONS[0])
    unmark(notebook.node, marked(notebook, word))
    assert said in " | ".join(complaints(notebook))


def test_too_few_unknown_and_unsplit_slides_are_noticed():
    notebook = Notebook.read(LESSONS[0])
    unmark(notebook.node, *[k for k in range(1, 40)])
    notebook.node.cells[1].metadata["slideshow"] = {"slide_type": "subslide"}
    notebook.node.cells[-1].source = "Text.\n\n## Late"
    notebook.node.cells[-1].metadata["slideshow"] = {"slide_type": "slide"}
    found = complaints(Notebook(notebook.path, notebook.node))
    assert any(re.match(r"[67] slides, should be 8 to 14", sentence) for sentence in found)
    assert "cell 1: slide_type 'subslide' is not one of ('slide', 'fragment', 'notes')" in found
    assert f"cell {len(notebook.node.cells) - 1}: '## Late' stands inside a slide; split the cell before it" in found


# ---------------------------------------------------------------- what is on a slide


def lesson(*cells: tuple[str, str]) -> Notebook:
    """A notebook of text cells, each with its slide type."""
    made = []
    for kind, source in cells:
        cell = nbformat.v4.new_markdown_cell(source)
        if kind:
            cell.metadata["slideshow"] = {"slide_type": kind}
        made.append(cell)
    return Notebook(LESSONS[0], nbformat.v4.new_notebook(cells=made))


ANSWER = "<details><summary>Answer</summary>\n\nNo.\n\n</details>"


def test_unmarked_cells_are_left_out_and_answers_become_notes():
    first, second = slides_of(
        lesson(
            ("slide", "# Why?"),
            ("", "## Hidden"),
            ("slide", f"### A *vote*\n\nYes or [no](x.ipynb#y)?\n\n{ANSWER}"),
            ("notes", "Take your time."),
        )
    )
    assert (first.source, second.source) == ("cell 0", "cell 2")
    assert (second.section, second.title) == ("Hidden", "A <em>vote</em>")
    assert "Yes or no?" in second.body
    assert "<h" not in second.body
    assert "No." not in second.body
    assert "<strong>Answer</strong>" in second.notes[0]
    assert "Take your time." in second.notes[1]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([("notes", "x")], "slide_type 'notes' must be 'slide'"),
        ([("fragment", "x")], "after a slide"),
        ([("slide", "# Why?"), ("subslide", "x")], "slide_type 'subslide' must be 'slide'"),
    ],
)
def test_a_mark_that_cannot_be_followed_is_refused(cells, said):
    with pytest.raises(ValueError, match=said):
        slides_of(lesson(*cells))


def test_code_without_an_output_is_refused():
    notebook = lesson(("slide", "# Why?"))
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"slideshow": {"slide_type": "slide"}})
    notebook.node.cells.append(cell)
    with pytest.raises(ValueError, match="cell 1: is marked as a slide and has no output to show"):
        slides_of(notebook)


def with_output(notebook: Notebook, kind: str, **data: str) -> Notebook:
    """The notebook with one more cell: code that is marked and shows something."""
    cell = nbformat.v4.new_code_cell("show()", metadata={"slideshow": {"slide_type": kind}})
    cell.outputs = [nbformat.v4.new_output("display_data", data={key.replace("_", "/"): data[key] for key in data})]
    notebook.node.cells.append(cell)
    return notebook


def test_of_the_claims_a_slide_shows_statement_and_verdict():
    table = (
        "| claim | test | measured | reproduced if | verdict |\n|---|---|---|---|---|\n"
        "| C1 $x$ \\| y | t | 1 | < 2 | **reproduced** |\n| C2 z | t | 3 | < 2 | **not reproduced** |\n\n"
        "Verdict: **partly**."
    )
    body = slides_of(with_output(lesson(("slide", "# Why?")), "slide", text_markdown=table))[1].body
    assert re.findall(r"<td.*?>(.*?)</td>", body) == ["C1 $x$ | y", "reproduced", "C2 z", "not reproduced"]
    assert "Verdict: <strong>partly</strong>" in body


def test_a_fragment_joins_the_slide_before():
    _, slide = slides_of(lesson(("slide", "# Why?"), ("slide", "## A\n\nOne."), ("fragment", "Two."), ("notes", "x")))
    assert '<div class="fragment"><p>Two.</p>' in slide.body
    assert len(slide.notes) == 1


def test_one_minute_has_three_titles_and_its_verdict_follows_the_claims():
    notebook = lesson(
        ("slide", "# Why?"),
        ("slide", "## In one minute\n\n**The claim.** It is so.\n\n**The picture.** Left: all of it."),
    )
    picture = StaticTwin(np.full((40, 200, 3), 200, np.uint8), caption := "A line. [a = 1; run the cell to move it]")
    with_output(notebook, "slide", image_png=base64.b64encode(png(picture.rgb)).decode(), text_plain=caption)
    notebook.node.cells += lesson(("slide", "**The verdict**: **partly**."), ("slide", "## Later")).node.cells
    with_output(notebook, "slide", text_markdown="| C1 x | t | 1 | < 2 | **reproduced** |\n\nVerdict.")
    _, claim, picture, later, claims, verdict = slides_of(notebook)
    assert [slide.title for slide in (claim, picture, later, claims, verdict)] == [
        "The claim", "The picture", "Later", "Later", "The verdict",
    ]  # fmt: skip
    assert {claim.section, picture.section, verdict.section} == {"In one minute"}
    assert (claim.body.strip(), verdict.body.strip()) == ("<p>It is so.</p>", "<p><strong>partly</strong>.</p>")
    assert ["Left: all of it." in note for note in picture.notes] == [True]
    assert "<figcaption>A line.</figcaption>" in picture.body
    shown = re.search(r"base64,([^\"]+)", picture.body)[1]
    assert Image.open(io.BytesIO(base64.b64decode(shown))).size == (200, 40)


PAGE = """# Teaching

## Questions to ask

### 1. Is $x$ large?

- yes
- no

**Expect**: most say yes. Shown in [B](a.ipynb#B-`is`-it) and [A](a.ipynb#A).

### 2. Nowhere?

**Expect**: here.

## Misconceptions
"""


def test_a_question_is_a_slide_before_the_one_that_answers_it():
    cells = ("slide", "# Why?"), ("slide", "## A"), ("", "## B `is` it"), ("notes", "x"), ("slide", "## C")
    slides = slides_of(lesson(*cells), PAGE.replace("`", ""))
    assert [slide.source for slide in slides] == ["cell 0", "cell 1", "question 1", "cell 4", "question 2"]
    first = slides[2]
    assert (first.section, first.title) == ("Question 1", "Is $x$ large?")
    assert re.findall("<li>(.*)</li>", first.body) == ["yes", "no"]
    assert [note.strip() for note in first.notes] == ["<p><strong>Expect</strong>: most say yes. Shown in B and A.</p>"]
    assert not any("most say" in note for slide in slides if slide is not first for note in slide.notes)


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_each_question_of_the_page_has_words_and_an_answer(path):
    asked = questions_of(page_of(path))
    assert asked
    assert all(question.words and question.answer for question in asked)


def test_a_lesson_without_slides_stops_the_command(tmp_path, capsys):
    bare = Notebook.read(LESSONS[0])
    unmark(bare.node, *range(len(bare.node.cells)))
    (tmp_path / "09_bare.ipynb").write_text(nbformat.v4.writes(bare.node), encoding="utf-8")
    assert tool.main(["--out", str(tmp_path / "out"), str(tmp_path / "09_bare.ipynb")]) == 1
    assert "09_bare.ipynb: no cell carries slideshow.slide_type 'slide'" in capsys.readouterr().err


# ---------------------------------------------------------------- in a browser


def write(path, *cells):
    path.write_text(nbformat.v4.writes(lesson(*cells).node), encoding="utf-8")
    return path


@pytest.mark.xdist_group("browser")
def test_a_deck_fits_and_asks_nobody_and_its_speaker_has_notes(browser, tmp_path, capsys):
    """`make slides` looks at every deck in the same way."""
    assert tool.write(LESSONS[:1], tmp_path)[0].startswith(f"{LESSONS[0].stem}.html: ")
    deck = tmp_path / f"{LESSONS[0].stem}.html"
    assert inspect(browser, deck, WIDTH, HEIGHT) == []
    page, found = open_page(browser, deck)
    page.wait_for_selector("body[data-ready]")
    assert page.locator(".slides > section").count() == len(slides_of(see.read(LESSONS[0]), page_of(LESSONS[0])))
    assert page.locator("mjx-container").count() > 0
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 1
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    opened.value.wait_for_selector(".speaker-controls-notes", state="attached")
    page.goto((tmp_path / "index.html").as_uri())
    assert page.get_by_role("link").count() == 1
    page.close()
    assert found == []


@pytest.mark.xdist_group("browser")
def test_a_bad_slide_is_noticed(browser, tmp_path):
    path = write(
        tmp_path / "09_bad.ipynb",
        ("slide", "# Why?"),
        ("slide", "## Too long\n\n" + 60 * "A line.\n\n"),
        ("slide", f"## Too wide\n\n`{300 * 'W'}`"),
        ("slide", "## Wrong\n\n$\\frac{1}$\n\n![](https://example.org/a.png)\n\n`\\frac{1}`"),
    )
    tool.write([path], tmp_path)
    found = inspect(browser, tmp_path / "09_bad.html", WIDTH, HEIGHT)
    for cell, said in (
        ("1", "larger than the screen"), ("1", "needs letters of 14 px, at least 16"), ("2", "larger than the screen"),
        ("3", "a formula that is wrong: Missing argument for"), ("3", "has a picture that is not shown"),
        ("3", "maths that is not typeset"),
    ):  # fmt: skip
        assert any(text.startswith(f"the slide of cell {cell} ") and said in text for text in found), (cell, said)
    assert "request to https://example.org/a.png" in found


def test_the_command_looks_at_the_decks_and_fails_when_one_is_bad(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "09_small.ipynb", ("slide", "# Why?"))
    command = ["--out", str(tmp_path), str(path)]
    monkeypatch.setattr(tool, "look", lambda decks: [f"{deck.name}: too long" for deck in decks])
    assert tool.main(command) == 1
    assert capsys.readouterr().err == "09_small.html: too long\n"
    monkeypatch.undo()
    monkeypatch.setattr(tool, "find_chromium", lambda: None)
    assert tool.main(command) == 0
    assert "no browser" in capsys.readouterr().out
