"""`make notebooks`: what it writes, what it leaves alone, what it refuses."""

import base64
import io
import json

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tests.example_lesson import from_markdown, save
from tools import notebooks as tool
from tools.notebooks import Notebook

MESSY = """\
**Time**: run 60 s

```python
import sys
import ipywidgets
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
print("out again")
```

```python
ipywidgets.IntSlider(description="n")
```

Dividing by zero raises.

```python
1 / 0
```
"""


@pytest.fixture
def messy(tmp_path):
    """A notebook with all that changes from run to run, as JupyterLab might leave it."""
    node = from_markdown(MESSY)
    node.cells[-1].metadata.tags = ["raises-exception"]
    node.cells[1].update(id=node.cells[0].id, execution_count=7)
    node.cells[1].metadata.update(execution={"iopub.status.busy": "12:00"}, scrolled=True)
    node.metadata.update(widgets={"state": {}}, language_info={"name": "python", "version": "3.11.7"})
    return save(Notebook(tmp_path / "00_messy.ipynb", node)).path


def test_written_notebook_is_stable(messy, capsys):
    assert tool.main([str(messy)]) == 0
    first = messy.read_text(encoding="utf-8")
    assert tool.main([str(messy)]) == 0
    assert messy.read_text(encoding="utf-8") == first
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["written", "unchanged"]

    assert first == json.dumps(json.loads(first), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    node = Notebook.read(messy).node
    assert node.metadata == tool.METADATA
    assert [cell.id for cell in node.cells] == [f"cell-{k}" for k in range(1, 6)]
    assert [cell.metadata for cell in node.cells] == [{}, {}, {}, {}, {"tags": ["raises-exception"]}]
    streams, slider, error = (cell.outputs for cell in node.cells if cell.cell_type == "code")
    assert [(output.name, output.text) for output in streams] == [("stdout", "out\nout again\n"), ("stderr", "err\n")]
    assert [list(output.data) for output in slider] == [["text/plain"]]
    assert slider[0].execution_count == node.cells[2].execution_count == 2
    assert error[0].traceback == ["ZeroDivisionError: division by zero"]


def test_a_failing_cell_is_reported_and_nothing_written(tmp_path, capsys):
    path = save(Notebook(tmp_path / "00_fails.ipynb", from_markdown(MESSY.replace("print(", "prinz(", 1)))).path
    before = path.read_bytes()
    assert tool.main([str(path)]) == 1
    assert path.read_bytes() == before
    said = capsys.readouterr()
    assert said.out == "00_fails.ipynb: not written\n"
    assert "00_fails.ipynb, cell 1:" in said.err
    assert said.err.endswith("NameError: name 'prinz' is not defined\n")


def test_check_runs_nothing_and_fails_on_a_budget(messy, capsys):
    before = messy.read_bytes()
    assert tool.main(["--check", str(messy)]) == 0
    messy.write_bytes(before.replace(b"run 60 s", b"run a minute"))
    assert tool.main(["--check", str(messy)]) == 1
    assert "00_messy.ipynb: no line such as '**Time**: " in capsys.readouterr().err


def test_measured_times_are_held_to_the_budgets():
    cells = [new_markdown_cell("**Time**: read 1 min · run 30 s"), new_code_cell("1"), new_code_cell("2")]
    notebook = Notebook(tool.ROOT / "00_slow.ipynb", new_notebook(cells=cells))
    assert tool.time_budgets(notebook, {1: 19.0, 2: 10.0}, 29.5) == []
    assert tool.time_budgets(notebook, {1: 21.0, 2: 100.0}, 121.0) == [
        "00_slow.ipynb, cell 1: took 21.0 s, allowed 20 s",
        "00_slow.ipynb, cell 2: took 100.0 s, allowed 20 s",
        "00_slow.ipynb: took 121.0 s, allowed 120 s",
        "00_slow.ipynb: took 121.0 s but promises 30 s",
    ]


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def with_picture(pixels, sentence):
    shown = new_output("display_data", {"image/png": png(pixels), "text/plain": sentence})
    return new_notebook(cells=[new_code_cell("show()", id="a", outputs=[shown])])


def picture(node):
    return node.cells[0].outputs[0].data["image/png"]


@pytest.mark.parametrize(
    ("pixels", "sentence", "kept"),
    [(1, "mean 0.5", True), (2000, "mean 0.5", False), (1, "mean 0.6", False)],
    ids=["last bits", "moved curve", "other sentence"],
)
def test_committed_picture_is_kept_when_nothing_changed(pixels, sentence, kept):
    blank = np.full((100, 200, 3), 255, np.uint8)
    drawn = blank.copy()
    drawn.reshape(-1)[:pixels] = 100
    committed, new = with_picture(blank, "mean 0.5"), with_picture(drawn, sentence)
    tool.keep_pictures(new, committed)
    assert picture(new) == (picture(committed) if kept else png(drawn))


def test_a_picture_of_another_size_replaces_the_committed_one():
    small, large = (np.zeros((rows, 9, 3), np.uint8) for rows in (8, 9))
    assert tool.nearly_equal(png(small), png(small))
    assert not tool.nearly_equal(png(small), png(large))


@pytest.mark.parametrize(("pixels", "level", "same"), [(19, 100, True), (20, 100, False), (200, 250, True)])
def test_a_letter_more_is_another_picture(pixels, level, same):
    blank = np.full((300, 400, 3), 255, np.uint8)
    drawn = blank.copy()
    drawn.reshape(-1, 3)[:pixels] = level
    assert tool.nearly_equal(png(blank), png(drawn)) == same


def test_words_are_those_of_the_prose():
    text = "# Two words\n`code` and $x+y$, [a link](https://a.b/c)\n```\nfenced\n```\n$$\nx\n$$\n<b>牛 and *so*</b>"
    notebook = Notebook(tool.ROOT / "00.ipynb", new_notebook(cells=[new_markdown_cell(text), new_code_cell("a = b")]))
    counted = ["Two", "words", "and", "x", "a", "link", "牛", "and", "so"]
    assert tool.count_words(notebook.lines) == len(counted)


def test_deeper_sections_end_where_a_heading_of_their_level_begins():
    text = "## Derivation\n### Deeper: one\n#### within\na\n### Step\nb\n## Deeper: two\n### still two\nc\n## Explore"
    notebook = Notebook(tool.ROOT / "01.ipynb", new_notebook(cells=[new_markdown_cell(text)]))
    belongs = {line.text: line.deeper for line in notebook.lines}
    assert [belongs[text] for text in ("a", "b", "c", "## Explore")] == ["Deeper: one", "", "Deeper: two", ""]
