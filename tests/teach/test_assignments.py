"""The recipe of course/grading.md: nbgrader gives a right answer full marks, a wrong and an untouched one none.

nbgrader itself is run on the assignment of one small notebook; those of all are made and looked at. `make assignments`
runs it on every one.
"""

import ast
import os
import re
import shutil

import nbformat
import pytest

from tests import collection as see
from tests.collection import NOTEBOOKS
from tools.notebooks import ROOT, Notebook
from tools.teach import assignments as tool
from tools.teach import trial
from tools.teach.assignments import HIDDEN, SOLUTION


def marks_of(node):
    return {cell.metadata.nbgrader.grade_id: cell for cell in node.cells if "nbgrader" in cell.metadata}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=see.name)
def test_assignment(path):
    notebook = see.read(path)
    node = tool.assignment(notebook)
    nbformat.validate(node)
    stubs = see.exercise_functions(notebook)
    found = tool.tasks(notebook)
    assert [task.spec for task in found if task.spec] == [spec for _, spec, _ in stubs]
    headings = [text for level, text, _ in see.headings(notebook) if level == 3 and text.startswith("Exercise ")]
    assert len(found) == len(headings or stubs)
    assert [task.points for task in found] == [max(1, text.count("★")) for text in headings or ["★"]]
    cells = marks_of(node)
    for task in found:
        name = f"exercise-{task.number}"
        assert cells[name].metadata.nbgrader.points == task.points
        assert not re.search(r"solutions/|\]\((?!https:)", task.text)
        if task.spec:
            answer, test = cells[f"{name}-answer"].source, cells[name].source
            assert answer.count(SOLUTION[0]) == answer.count(SOLUTION[1]) >= 1
            assert released(answer) == task.stub
            lines = test.splitlines()
            assert (lines[1], lines[-1]) == HIDDEN
            assert lines[2] == f"lab.grade({task.spec}, {task.function})"
        else:
            assert cells[name].cell_type == "markdown"
            assert cells[name].metadata.nbgrader.solution


def released(answer: str) -> str:
    """The cell as students get it, in one form: nbgrader puts a stub in the place of a solution."""
    text = re.sub(rf"^( *){SOLUTION[0]}\n.*?{SOLUTION[1]}", r"\1...", answer, flags=re.MULTILINE | re.DOTALL)
    return text.removeprefix("...\n")


def test_one_assignment_in_words():
    """Exercises without a stub are graded by hand: a derivation has no property that a machine can test."""
    words = {path.name: [task.number for task in tool.tasks(see.read(path)) if not task.spec] for path in NOTEBOOKS}
    assert words["02_flatnce.ipynb"] == [3]
    assert words["00_start_here.ipynb"] == []


@pytest.fixture
def copied(tmp_path):
    """One notebook with its solutions, to break."""
    path = NOTEBOOKS[0]
    (tmp_path / "solutions").mkdir()
    shutil.copy(path, tmp_path)
    shutil.copy(path.parent / "solutions" / path.name, tmp_path / "solutions")
    return tmp_path / path.name


def test_what_is_missing_is_named(copied):
    notebook = Notebook.read(copied)
    solution = copied.parent / "solutions" / copied.name
    node = Notebook.read(solution).node
    node.cells = node.cells[:-1]
    solution.write_text(nbformat.v4.writes(node), encoding="utf-8")
    with pytest.raises(ValueError, match=r"00_start_here\.ipynb does not solve exercises\.enough"):
        tool.assignment(notebook)
    solution.unlink()
    with pytest.raises(ValueError, match=r"solutions/00_start_here\.ipynb is missing"):
        tool.assignment(notebook)
    notebook.node.cells = notebook.node.cells[:2]
    with pytest.raises(ValueError, match="no heading '### Exercise 1"):
        tool.tasks(Notebook(copied, notebook.node))


def test_marks_that_are_wrong_are_reported():
    made = {"x": tool.assignment(see.read(NOTEBOOKS[0]))}
    right, none = {"exercise-1": 1.0}, {"exercise-1": 0.0}
    good = {"x": {"right": right, "wrong": none, "untouched": none}}
    assert list(trial.complaints(made, good)) == []
    for student in trial.STUDENTS:
        spoilt = {"x": good["x"] | {student: {"exercise-1": 0.5}}}
        (said,) = trial.complaints(made, spoilt)
        assert said.startswith(f"x: a {student} submission got {{'exercise-1': 0.5}}, should get ")


@pytest.mark.filterwarnings("ignore")  # of nbgrader
def test_nbgrader_grades(tmp_path, capsys, monkeypatch):
    """Oracle: nbgrader's own gradebook."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the trial changes it
    monkeypatch.setattr("nbgrader.api.get_alembic_version", lambda: "none")  # of a new gradebook: 3 s
    command = ["--out", str(tmp_path / "course"), str(NOTEBOOKS[0])]
    assert tool.main(command) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "00_start_here", "  right: exercise-1 1", "  wrong: exercise-1 0", "  untouched: exercise-1 0",
    ]  # fmt: skip
    assert (tmp_path / "course/source/00_start_here/00_start_here.ipynb").exists()
    config = tmp_path / "course/nbgrader_config.py"
    config.write_text(config.read_text() + "# mine\n")
    assert tool.main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1, "what was tried is not tried again"
    assert config.read_text().endswith("# mine\n"), "a lecturer's settings stay"


def test_the_page_names_what_there_is():
    page = (ROOT / "course" / "grading.md").read_text(encoding="utf-8")
    assert "python -m tools.teach.assignments --out" in page
    blocks = "".join(re.findall(r"```\n(.*?)```", page, re.DOTALL))
    commands = re.findall(r"^nbgrader (\w+)", blocks, re.MULTILINE)
    assert commands == ["generate_assignment", "autograde", "export", "generate_feedback"]
    (setting,) = re.findall(r"```python\n(c\.\w+\..*?)```", page, re.DOTALL)
    ast.parse(setting)
