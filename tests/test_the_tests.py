"""Every rule and test of the notebooks is broken on purpose at least once, and must say where and what."""

import base64
import re
import shutil

import pytest
from nbformat.v4 import new_code_cell, new_output

from tests import collection as see
from tests import test_explorers as explorers
from tests import test_sources as sources
from tests import test_structure as structure
from tests.example_lesson import build, from_markdown, save
from tests.test_notebooks import agrees_with_its_outputs
from tools import notebooks as tool
from tools.notebooks import Notebook

NAME = "01_squares.ipynb"
pytestmark = pytest.mark.no_cover  # it is the tests that are tested here, not helpers/


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """The example lesson, executed once."""
    return build(tmp_path_factory.mktemp("example"))


@pytest.fixture
def lesson(example, tmp_path):
    """A copy of the example to break."""
    shutil.copytree(example.path.parents[1], tmp_path / "copy")
    return Notebook.read(tmp_path / "copy/notebooks" / NAME)


def swap(old, new, count=1):
    """Change text in the first cell that holds it."""

    def change(node):
        cell = next(cell for cell in node.cells if old in cell.source)
        cell.source = cell.source.replace(old, new, count)

    return change


def exchange(old, new):
    """Exchange two texts wherever they stand."""

    def change(node):
        for cell in node.cells:
            cell.source = re.sub(f"{old}|{new}", lambda found: new if found[0] == old else old, cell.source)

    return change


def drop(text):
    """Remove the first cell that holds the text."""

    def change(node):
        node.cells.remove(next(cell for cell in node.cells if text in cell.source))

    return change


def insert(cell, before):
    """Add a cell before the first one that holds the text."""

    def change(node):
        node.cells.insert(next(k for k, other in enumerate(node.cells) if before in other.source), cell)

    return change


def output(kind, before="None**2", **content):
    """Add an output to a code cell."""
    return lambda node: next(c for c in node.cells if before in c.source).outputs.append(new_output(kind, **content))


def tagged(tag, before="None**2"):
    return lambda node: next(c for c in node.cells if before in c.source).metadata.update(tags=[tag])


def caption(text):
    """Change the sentence and the alternative text of the static figure."""

    def change(node):
        shown = next(cell for cell in node.cells if "lab.figure(" in cell.source).outputs[0]
        shown.data["text/plain"] = text

    return change


def no_outputs(node):
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = []


# rule, how to break it, what it then says
BROKEN = [
    ("file_size", lambda node: node.cells[0].update(source="x" * 1_500_001), "bytes, allowed 1,500,000"),
    ("prose_words", swap("word " * 1000, ""), r"\d+ words of prose, should be 2000 to 4000"),
    ("prose_words", swap("word ", "word word ", 1100), r"\d+ words without the Deeper sections, allowed 3000"),
    ("prose_words", swap("May be", "word " * 250 + "May be"), r"'Deeper: other powers' has \d+ words, allowed 250"),
    ("cell_lengths", swap("x = 0.25", "x = 0.25\n" * 26), r"cell 3 In \[2\]: 28 lines, allowed 25"),
    ("cell_lengths", lambda node: [c.update(source="x = 1\n" * 9) for c in node.cells], "9 lines in the median"),
    ("code_runs", lambda node: node.cells.extend(new_code_cell("1") for _ in range(3)), "more than 2 code cells"),
    ("states_run_time", swap("run 60 s", "run a minute"), "no line such as"),
    ("no_semicolons", swap("fig, ax = lab.subplots()", "fig, ax = lab.subplots();"), r"In \[8\]: a semicolon"),
    ("title_is_a_question", swap("squaring do?", "squaring does"), "a question"),
    ("title_is_a_question", swap("## Key ideas", "# Key ideas"), "its only '# ' heading"),
    ("title_cell_names_article_and_licences", swap("CC BY 4.0", "free"), "does not hold 'CC BY 4.0'"),
    ("sections_in_order", swap("## Where it breaks", "### Where it breaks"), "'## Where it breaks' is missing"),
    ("sections_in_order", swap("### Step 1", "## Step 1"), "'## Step 1' is not one of the sections"),
    ("sections_in_order", swap("## Setup", "## Explore"), "occurs twice"),
    ("sections_in_order", swap("\n## Further reading", "\n## References"), "'## Further reading' is missing"),
    ("sections_in_order", swap("## Notation", "### Deeper: early\n\n## Notation"), "comes before the derivation"),
    ("sections_in_order", exchange("## Notation", "## Setup"), r"in the order \['In one minute'"),
    ("one_minute_gives_the_verdict", swap("**partly**", "**reproduced**"), r"'\*\*partly\*\* \(1 of 2'"),
    ("one_minute_gives_the_verdict", no_outputs, "no output"),
    ("says_what_you_will_learn", swap("- square a number,\n", ""), "2 bullets, should be 3 to 5"),
    ("says_what_you_will_learn", swap("**You need**", "You need"), r"no \*\*You need"),
    ("says_what_you_will_learn", swap("read 5 min · ", ""), "read 45 min"),
    ("notation_is_a_table", swap("|---|---|---|---|", "|---|---|"), "Notation: no table"),
    ("setup_is_short", swap("import toy", "import toy\n" * 8), "at most 8 lines"),
    ("setup_is_short", drop("lab.style.use"), "one code cell"),
    ("equations_are_checked", swap("(1) the", "the"), r"cell 4: no lab.check\(…, '\(1\) …'\)"),
    ("equations_are_checked", swap(r"\tag{2}", r"\tag{3}"), r"equation 2 has the number \(3\)"),
    ("equations_are_checked", swap(r"\tag{2}", r"\tag{1}"), r"equation 2 has the number \(1\)"),
    ("equations_are_checked", swap(r" \tag{2}", ""), r"checks \(2\), which no equation has"),
    ("explorers_are_framed", swap("Does it ever rise?", "It never rises."), r"In \[6\]: 1 questions before"),
    ("explorers_are_framed", swap("<details><summary>Answers</summary>", ""), "no collapsed answers"),
    ("explorers_are_framed", insert(new_code_cell("1"), "It sinks further"), "no text after the Explorer"),
    ("claims_are_computed", drop("lab.claims"), "should call lab.claims once"),
    ("claims_are_computed", swap('"C2 the', '"the'), "claim 2 should begin with 'C2 ', begins with 'the square"),
    ("claims_are_computed", swap('0.25", x * x - x', '0.25", -0.1875'), "the measured value of C1 is typed"),
    ("claims_are_computed", swap("4 - 2", "2"), "the measured value of C2 is typed"),
    ("claims_are_computed", swap("print(error)", 'print("reproduced")'), "types a verdict"),
    ("key_ideas_are_quotes", swap("> One.", "One."), "2 block quotes, should be 3 to 6"),
    ("exercises_are_complete", swap("### Exercise 4", "### Task 4"), "numbers"),
    ("exercises_are_complete", swap("@lab.exercise(toy.double)\n", ""), "fewer than two with @lab.exercise"),
    ("exercises_are_complete", swap("find the bug", "find a friend"), "none says 'find the bug'"),
    ("stubs_are_untouched", swap("def double(x): ...", "def double(x):\n    return 2 * x"), "the stub of toy.double"),
    ("exercises_have_solutions", swap("toy.halve", "toy.too_kind"), "01_squares.ipynb solves toy.too_kind"),
    ("sources_have_links", swap("[A book](https://example.org/book)", "A book"), "Further reading: no link"),
    ("prose_is_sober", swap("It sinks", "Obviously it sinks"), "'Obviously' in"),
    ("prose_is_sober", swap("It sinks further.", "It sinks!"), "'!' in 'It sinks!'"),
    ("numbers_are_computed", swap("0.06, or", "0.07, or"), "no cell computes 0.07"),
    ("numbers_are_computed", swap("6.25 %", "6.35 %"), "no cell computes 6.35 %"),
    ("numbers_are_computed", swap("It sinks", "By 1e-12 it sinks"), "no cell computes 1e-12"),
    ("maths_renders_everywhere", swap("\n\n$$\nx ", "\n$$\nx "), "blank lines around"),
    ("maths_renders_everywhere", swap("$$\nx \\cdot x = x^2 \\tag{2}\n$$", "$$x^2$$"), "alone on its line"),
    ("maths_renders_everywhere", swap("It sinks", r"\begin{align}x\end{align}"), "outside"),
    ("maths_renders_everywhere", swap("{aligned}", "{align}", 2), "does not render everywhere"),
    ("maths_renders_everywhere", swap(r"\tag{1}", r"\tag{1} \label{one}"), "does not render everywhere"),
    ("maths_renders_everywhere", swap("It sinks", r"\(x\) sinks"), "does not render everywhere"),
    ("links_resolve", swap("#Does-it-reproduce?", "#does-it"), "the link #does-it leads to no heading"),
    ("links_resolve", swap("It sinks", "It [sinks](../missing.md)"), "leads to no file"),
    ("links_resolve", swap("It sinks", "[It](solutions/01_squares.ipynb#No) sinks"), "leads to no heading"),
    ("links_resolve", swap("https://example.org/book", "http://example.org/book"), "http:, not https:"),
    ("links_resolve", swap("It sinks", "![](https://example.org/a.png)"), "no alternative text"),
    ("links_resolve", swap("It sinks", "![a](attachment:a.png)"), "is not attached"),
    ("code_is_plain_python", swap("print(error)", "!pip install torch"), "not plain Python: '!pip install torch'"),
    ("no_global_seed", swap("x = 0.25", "np.random.seed(1)"), "np.random.seed is shared"),
    ("no_global_seed", swap("x = 0.25", "torch.manual_seed(1)"), "torch.manual_seed is shared"),
    ("no_torch_without_need", swap("import toy", "from torch import nn"), r"In \[1\]: imports torch"),
    ("colours_come_from_the_style", swap("**lab.style.series(1)", 'color="red"'), "the colour 'red' is typed"),
    ("colours_come_from_the_style", swap("**lab.style.series(1)", '"r--"'), "the colour 'r--' is typed"),
    ("colours_come_from_the_style", swap("**lab.style.series(1)", '**{"cmap": "jet"}'), "the colour 'jet' is typed"),
    ("colours_come_from_the_style", swap("x = 0.25", 'x = "#ff0000"'), "the colour '#ff0000' is typed"),
    ("figures_have_captions", swap(', f"The square of {x} is {x * x:.3g}."', ""), "a figure without a caption"),
    ("figures_have_captions", caption("<Figure size 640x480>"), "a picture without a sentence"),
    ("figures_have_captions", caption("Another one."), "alternative text is not its sentence"),
    ("outputs_are_stable", output("stream", name="stderr", text="Warning: x"), "writes to stderr: 'Warning: x'"),
    ("outputs_are_stable", output("display_data", data={"text/plain": "<A object at 0x7f>"}), "holds an address"),
    ("no_absolute_paths", swap("x = 0.25", 'x = open("/home/me/data.csv")'), "the path /home/me/data.csv"),
    ("no_absolute_paths", output("stream", text="saved to ~/out"), "the path ~/out"),
    ("counts_run_from_one", lambda node: node.cells[1].update(execution_count=3), r"execution counts are \[3, 2, 3"),
    ("counts_run_from_one", lambda node: node.cells[1].update(execution_count=None), r"execution counts are \[None, 2"),
    ("tags_are_known", tagged("nbval-skip"), r"unknown tags \['nbval-skip'\]"),
    ("tags_are_known", tagged("raises-exception"), "raises nothing"),
    ("tags_are_known", tagged("nbval-ignore-output"), "the next code cell asserts nothing"),
    ("file_is_normalised", lambda node: node.metadata.update(widgets={}), "metadata"),
    ("file_is_normalised", output("display_data", data={tool.WIDGET_VIEW: {}}), "`make notebooks` writes"),
    ("file_is_normalised", lambda node: node.cells[0].update(id="0a1b2c3d"), "0a1b2c3d"),
]  # fmt: skip


def rules():
    return {rule.__name__: rule for rule in [*structure.RULES, *structure.LESSON_RULES]}


@pytest.mark.parametrize(("rule", "change", "said"), BROKEN, ids=[f"{k}-{case[0]}" for k, case in enumerate(BROKEN)])
def test_broken_notebook(lesson, rule, change, said):
    change(lesson.node)
    complaints = rules()[rule](Notebook.read(save(lesson).path))
    assert any(re.search(said, complaint) for complaint in complaints), complaints
    assert all(complaint.startswith(NAME) for complaint in complaints)


def test_every_rule_is_broken_somewhere():
    assert {rule for rule, _, _ in BROKEN} == set(rules())


def test_the_example_breaks_no_rule(example):
    assert [complaint for rule in rules().values() for complaint in rule(example)] == []


# ---------------------------------------------------------------- Explorers and exercises


FIRST = 'lab.slider("exponent n", 1, 6'


def explorer_fails(lesson, match):
    [first, *_] = [cell for cell, _ in see.cells_that_call(lesson, "Explorer")]
    with pytest.raises(Exception, match=match) as failure:
        explorers.moves_everywhere(lesson, first)
    assert f"{NAME}, cell {first}" in str(failure.value) + "".join(getattr(failure.value, "__notes__", []))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ("Dead", "dead control: moving n changes no pixel"),
        ("BreaksAtThree", "at {'n': 3}: TypeError"),
        ("HoldsNaN", "at {'n': 4}: NaN or infinity in a Line2D"),
        ("SaysNaN", "at {'n': 4}: the caption holds a number that is not finite"),
        ("Speechless", "at {'n': 5}: TypeError: Speechless.update must return a sentence"),
        ("Remembers", "update keeps state"),
    ],
)
def test_broken_picture(lesson, picture, said):
    swap("toy.Power, n=", f"toy.{picture}, n=")(lesson.node)
    cell = next(cell for _, cell in lesson.code if f"toy.{picture}" in cell.source)
    with see.as_in_a_kernel(lesson.path.parent):
        now = explorers.build_explorer(lesson, lesson.node.cells.index(cell))._repr_mimebundle_()[0]
    # Saved as it says and draws itself, so that only the sweep can object.
    cell.outputs[0].data |= {
        "text/plain": now["text/plain"], "image/png": base64.b64encode(now["image/png"]).decode()
    }  # fmt: skip
    explorer_fails(lesson, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap("value=2", "value=3"), r"saved sentence\n.*0.25.*\n *but it now says\n.*0.125"),
        (
            swap(f"lab.Explorer(toy.Power, n={FIRST}", f"e = lab.Explorer(toy.Power, n={FIRST}"),
            "last expression of its cell",
        ),
        (swap("value=2", "value=int(x * 8)"), "name 'x' is not defined"),
        (swap("value=2", "value=9"), "value must lie in"),
        (swap("toy.Power, n=", "toy.Renamed, n="), "the saved picture is not the one that is drawn now"),
    ],
    ids=["stale sentence", "not shown", "needs another cell", "out of range", "stale picture"],
)
def test_broken_explorer_cell(lesson, change, said):
    change(lesson.node)
    explorer_fails(lesson, said)


@pytest.mark.parametrize("cells", [1, 5])
def test_wrong_number_of_explorers(lesson, cells):
    shown = [cell for _, cell in lesson.code if "lab.Explorer" in cell.source]
    if cells == 1:
        lesson.node.cells.remove(shown[0])
    lesson.node.cells.extend(shown[:1] * (cells - 2))
    with pytest.raises(AssertionError, match=f"{NAME}: has {cells} Explorers"):
        explorers.explorers_are_counted(lesson)


def test_explorer_out_of_sight(lesson):
    swap("lab.Explorer", "getattr(lab, 'Explorer')")(lesson.node)
    with pytest.raises(AssertionError, match=r"Explorers built in \[13\] but shown in \[11, 13\]"):
        explorers.explorers_are_counted(lesson)


def test_wrong_answer_accepted(lesson):
    solution = Notebook.read(lesson.path.parent / "solutions" / NAME)
    swap("toy.halve", "toy.too_kind")(solution.node)
    (_, _, good), (cell, spec, function) = see.exercise_functions(solution)
    explorers.refuses_wrong_answers(solution, cell - 2, "toy.double", good.name)
    with pytest.raises(AssertionError, match=r"toy.too_kind, given a wrong answer \(result × 1.01\), said: right"):
        explorers.refuses_wrong_answers(solution, cell, spec, function.name)


# ---------------------------------------------------------------- nbval


BROKEN_CELLS = """\
```python
from helpers import lab
```

```python
print(0.1 + 0.2 == 0.3)
```

```python
lab.check((1 + 2) ** 2, 1 + 2**2, "(1) the binomial formula")
```

```python
import urllib.request
urllib.request.urlopen("http://192.0.2.1", timeout=2)
```

```python
lab.Explorer(lambda figure: None, n=lab.slider("n", 1, 6, 1, value=2))
```
"""


def test_nbval_sees_what_is_broken(tmp_path):
    node = from_markdown(BROKEN_CELLS)
    for k, cell in enumerate(node.cells, start=1):
        cell.execution_count = k
    node.cells[1].outputs = [new_output("stream", text="True\n")]
    path = save(Notebook(tmp_path / NAME, node)).path
    with pytest.raises(AssertionError) as failure:
        agrees_with_its_outputs(path)
    said = str(failure.value)
    assert "4 failed, 1 passed" in said
    for words in (NAME, "Cell outputs differ", "'True\\n' == 'False\\n'", "the two sides differ by 4", "run offline"):
        assert words in said


def test_nbval_passes_the_example(example):
    agrees_with_its_outputs(example.path)


# ---------------------------------------------------------------- README and sources


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| [What", "[What", r"README.md lists \[\], notebooks/ holds \['notebooks/01_squares.ipynb'\]"),
        ("partly", "reproduced", "the verdict is 'partly' with 1 of 2, the row says"),
        ("**partly**", "partly: 2 of 2 claims", "the verdict is 'partly' with 1 of 2, the row says"),
        ("squaring do?", "cubing do?", "the title is 'What does squaring do\\?'"),
        ("| 5 |", "| 7 |", "does not say 'read 7 min'"),
    ],
)
def test_broken_readme(lesson, old, new, said):
    root = lesson.path.parents[1]
    assert structure.readme_lists_the_notebooks(root) == []
    text = (root / "README.md").read_text(encoding="utf-8")
    (root / "README.md").write_text(text.replace(old, new), encoding="utf-8")
    [complaint] = structure.readme_lists_the_notebooks(root)
    assert re.search(said, complaint)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("helpers/a.py", "import helpers.figures.a", "imports helpers.figures.a"),
        ("helpers/a.py", "from helpers import lab", "imports helpers.lab"),
        ("helpers/a.py", "import matplotlib.pyplot", "imports matplotlib: the maths shows nothing"),
        ("helpers/a.py", "print(1)", "prints in line 1"),
        ("helpers/a.py", "from . import b", "imports ."),
        ("helpers/a.py", "np.random.normal()", "np.random.normal is shared"),
        ("helpers/lab/a.py", "from helpers import b", "imports helpers.b"),
        ("helpers/lab/a.py", "import tests.collection", "imports tests.collection"),
        ("helpers/figures/a.py", "from helpers.figures import b", "imports helpers.figures.b"),
        ("helpers/figures/a.py", "from helpers.exercises import a", "imports helpers.exercises.a"),
        ("helpers/figures/a.py", "ax.plot(x, y, c=['none', 'red'])", "the colour 'red' is typed"),
        ("helpers/figures/a.py", "line.set_color('C1')", "the colour 'C1' is typed"),
        ("helpers/figures/a.py", "ax.set_title('平方')", "Chinese characters '平'"),
        ("helpers/figures/a.py", "lab.Explorer(A)", "builds an Explorer"),
        ("helpers/exercises/a.py", "from helpers.exercises.b import c", "imports helpers.exercises.b"),
    ],
)
def test_broken_source(tmp_path, file, text, said):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    complaints = sources.arrows_point_down(path, tmp_path) + sources.source_is_house_style(path, tmp_path)
    assert any(complaint.startswith(file) and said in complaint for complaint in complaints), complaints


def test_sound_source(tmp_path):
    path = tmp_path / "helpers/figures/a.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from helpers import a, lab\nax.plot(x, y, 'o', color=lab.style.COLORS['blue'], mfc='none')", encoding="utf-8"
    )
    assert sources.arrows_point_down(path, tmp_path) + sources.source_is_house_style(path, tmp_path) == []


def test_loaded_modules_are_seen():
    assert {"PIL", "sys"} <= sources.loaded("PIL.Image")
