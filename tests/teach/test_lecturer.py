"""Every lesson has a page for its lecturer: a plan of 45 minutes, questions the notebook answers, a setting to show.

What a page says the notebook says: its numbers are computed there, its links lead to headings, the named Explorer takes
the named settings and then says the quoted sentence. Its questions are slides, and a row that asks one shows its slide.
"""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from helpers.lab.controls import positions
from tests import collection as see
from tests.collection import LESSONS
from tools.notebooks import Notebook
from tools.teach.slides import PAGES, Question, order, page_of

SECTIONS = ["Before class", "45 minutes", "Questions to ask", "Misconceptions", "Leave on screen"]


def sections(page: str) -> dict[str, str]:
    """Text below each heading of level 2, by heading."""
    parts = re.split(r"^## (.*)$", page, flags=re.MULTILINE)
    return {title.strip(): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def table(text: str) -> list[list[str]]:
    """Rows of the first table, without its head."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]


def numbers(text: str, words: str) -> list[int]:
    """Numbers that follow words in a text, ranges in full: ``[3, 5, 6, 7]`` of "slides 3, 5–7"."""
    found = []
    for said in re.findall(rf"\b(?:{words}) ([\d–, and]+)", text, re.IGNORECASE):
        for first, last in re.findall(r"(\d+)(?:–(\d+))?", said):
            found += range(int(first), int(last or first) + 1)
    return found


def _slides(page: str, notebook: Notebook) -> list[str]:
    """What is wrong with the numbers of slides that a page names, and with the order of its questions."""
    deck = order(notebook, page)
    slide_of = {one.number: n for n, one in enumerate(deck, start=1) if isinstance(one, Question)}
    found = [f"names slide {n} of {len(deck)}" for n in numbers(page, "slides?") if not 1 <= n <= len(deck)]
    for row in table(sections(page)["45 minutes"]):
        for k in numbers(row[1], "questions?"):
            if slide_of.get(k) not in numbers(row[2], "slides?"):
                found.append(f"the row {row[1]!r} asks question {k} and does not show its slide {slide_of.get(k)}")
    if list(slide_of) != sorted(slide_of):
        found.append(f"the slides ask the questions in the order {list(slide_of)}")
    return found


def complaints(page: str, notebook: Notebook, folder: Path = PAGES) -> list[str]:
    """What is wrong with a page, except for its Explorer."""
    found = []
    parts = sections(page)
    title = f"# Teaching: {see.headings(notebook)[0][1].replace('`', '')}"
    if page.splitlines()[0] != title:
        found.append(f"should begin with {title!r}")
    if list(parts) != SECTIONS:
        return [*found, f"has the sections {list(parts)}, should have {SECTIONS}"]
    plan = table(parts["45 minutes"])
    if (total := sum(int(row[0]) for row in plan)) != 45:
        found.append(f"the plan takes {total} minutes")
    found += _slides(page, notebook)
    questions = re.split(r"^### ", parts["Questions to ask"], flags=re.MULTILINE)[1:]
    if not 4 <= len(questions) <= 6:
        found.append(f"{len(questions)} questions, should be 4 to 6")
    for number, question in enumerate(questions, start=1):
        if not re.match(rf"{number}\. .*\?", question):
            found.append(f"question {number} is headed {question.splitlines()[0]!r}")
        if "**Expect**: " not in question or not re.search(r"Shown in \[.+?\]\(.+?#.+?\)", question):
            found.append(f"question {number} lacks '**Expect**: …' or 'Shown in [heading](notebook#heading)'")
    if (count := len(re.findall(r'^- \*\*"', parts["Misconceptions"], re.MULTILINE))) < 3:
        found.append(f"{count} misconceptions, should be at least 3")
    return found + _links(page, notebook, folder) + _numbers(page, notebook)


def _links(page: str, notebook: Notebook, folder: Path) -> list[str]:
    found = []
    anchors = {re.sub(r"[*`]", "", title).replace(" ", "-") for _, title, _ in see.headings(notebook)}
    for target in re.findall(r"\]\((?!https:)([^)]*)\)", page):
        file, _, anchor = unquote(target).partition("#")
        if (folder / file).resolve() != notebook.path.resolve():
            found.append(f"the link {target} does not lead to {notebook.name}")
        elif anchor and anchor not in anchors:
            found.append(f"the link {target} leads to no heading")
    return found


def _numbers(page: str, notebook: Notebook) -> list[str]:
    """Decimals, percentages and powers of ten that no cell computes; a quoted sentence is the Explorer's affair."""
    text = "\n".join(line for line in page.splitlines()[1:] if line[:1] not in ("|", ">"))
    return [f"no cell computes {number}" for number in see.not_computed(text, see.computed_numbers(notebook))]


def left_on_screen(page: str, notebook: Notebook) -> list[str]:
    """What is wrong with the Explorer that the page leaves on screen."""
    text = sections(page)["Leave on screen"]
    named = re.search(r"^\*\*(.+?)\*\* \(`(figures\.\w+)`\)", text, re.MULTILINE)
    quoted = re.search(r"^> (.+)$", text, re.MULTILINE)
    if not named or not quoted:
        return ["'Leave on screen' lacks '**heading** (`figures.Class`)' or the sentence after '> '"]
    cells = [k for k, _ in see.cells_that_call(notebook, "Explorer") if f"{named[2]}," in notebook.node.cells[k].source]
    if len(cells) != 1:
        return [f"{named[2]} is shown in cells {cells}, should be one"]
    above = [title for _, title, cell in see.headings(notebook) if cell < cells[0]][-1]
    if above != named[1]:
        return [f"{named[2]} stands under {above!r}, the page says {named[1]!r}"]
    with see.as_in_a_kernel(notebook.path.parent):
        explorer, _ = see.run_cells(notebook, see.setup_cell(notebook), cells[0])
        by_label = {control.description: name for name, control in explorer.controls.items()}
        wanted = dict(table(text))
        if wanted.keys() != by_label.keys():
            return [f"the controls are {list(by_label)}, the page sets {list(wanted)}"]
        try:
            explorer.set(**{by_label[label]: _value(explorer, by_label[label], text) for label, text in wanted.items()})
        except ValueError as error:
            return [str(error)]
    return [] if explorer.caption == quoted[1] else [f"it then says {explorer.caption!r}"]


def _value(explorer, name: str, text: str) -> object:
    """The value of a control that a reader sees as `text`; the text itself where there is none."""
    control = explorer.controls[name]
    if hasattr(control, "options"):
        options = {str(o[0]): o[1] for o in control.options if isinstance(o, tuple)} or {o: o for o in control.options}
        return options.get(text, text)
    if isinstance(control.value, bool):
        return {"on": True, "off": False}.get(text, text)
    return next((value for value in positions(control, 10**6) if f"{value:g}" == text), text)


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_page(path):
    text, notebook = page_of(path), see.read(path)
    assert text, f"course/lecturer/{path.stem}.md is missing; write it after the pattern of the others"
    assert (complaints(text, notebook) or left_on_screen(text, notebook)) == []


def test_no_page_without_its_lesson():
    assert {page.stem for page in PAGES.glob("*.md")} <= {path.stem for path in LESSONS}


FIRST = LESSONS[0]
BROKEN = [
    ("# Teaching: ", "# ", "should begin with '# Teaching: "),
    ("## Misconceptions", "## Errors", "has the sections"),
    ("| 5 |", "| 6 |", "the plan takes 46 minutes"),
    ("slides 1–3", "slides 1–33", "names slide 33 of"),
    ("slides 7–10", "slides 7–9", "asks question 2 and does not show its slide 10"),
    ("#Step-3.-A-shared-covariance-removes-the-square", "#Key-ideas", "in the order [2, 3, 4, 5, 1]"),
    ("### 5. ", "### 6. ", "question 5 is headed"),
    ("**Expect**", "**Answer**", "question 1 lacks"),
    ("Shown in", "Seen in", "question 1 lacks"),
    ('- **"', "- **", "misconceptions, should be"),
    ("#Step-3.", "#Step-33.", "leads to no heading"),
    (FIRST.name, "02_flatnce.ipynb", "does not lead to 01_"),
    ("## Misconceptions\n", "## Misconceptions\n\nIt is 0.12345.\n", "no cell computes 0.12345"),
]


@pytest.mark.parametrize(("old", "new", "said"), BROKEN, ids=[old for old, *_ in BROKEN])
def test_a_broken_page_is_refused(old, new, said):
    text = page_of(FIRST)
    count = -1 if "misconceptions" in said else 1
    found = " | ".join(complaints(text.replace(old, new, count), see.read(FIRST)))
    assert said in found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| separation Δ | 4 |", "| separation Δ | 44 |", "separation must be"),
        ("| separation Δ | 4 |", "| separation | 4 |", "the page sets"),
        ("| samples n | 5000 |", "| samples n | 1000 |", "it then says 'R² = "),
        ("figures.ThreeLines", "figures.FourLines", "should be one"),
        ("**Three lines, one direction** (", "**Lines** (", "stands under 'Three lines, one direction'"),
        ("\n> R²", "\nR²", "lacks"),
    ],
)
def test_a_wrong_setting_is_refused(old, new, said):
    text = page_of(FIRST)
    (found,) = left_on_screen(text.replace(old, new), see.read(FIRST))
    assert said in found
