"""`make assignments`: the exercises of each lesson as an nbgrader assignment that the self-checks grade.

Of a lesson the assignment has the setup cell and the exercises. The worked solution stands in each stub between
nbgrader's marks, which its ``generate_assignment`` empties; a locked cell after it holds the test for the marks, which
students do not see. An exercise without a stub gets a cell for words, graded by hand. Marks are the stars.

Each assignment is then tried: nbgrader grades a right, a wrong and an untouched submission, and must give full marks,
none and none. See course/grading.md.
"""

import argparse
import ast
import hashlib
import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.cells import calls, setup_cell, tree
from tools.links import unlinked, without_solutions
from tools.notebooks import METADATA, ROOT, Notebook
from tools.teach.trial import CONFIG, complaints, save, trial

OUT = ROOT / "build" / "nbgrader"
SOLUTION = ("### BEGIN SOLUTION", "### END SOLUTION")
HIDDEN = ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS")


@dataclass(frozen=True)
class Task:
    """One exercise: its text, the specification and the stub, both "" when it is answered in words, and the marks."""

    number: int
    text: str
    spec: str
    stub: str
    points: int

    @property
    def function(self) -> str:
        return _definition(self.stub).name


def tasks(notebook: Notebook) -> list[Task]:
    """The exercises of a lesson: below headings of level 3 that hold a stub or are called Exercise.

    Raises
    ------
    ValueError
        When there is none.
    """
    blocks: list[tuple[str, list[str], str]] = []
    for line in notebook.lines:
        if line.kind == "heading" and not line.text.startswith("####"):
            blocks.append((line.text, [], ""))
        elif blocks and line.kind != "code cell" and not blocks[-1][2]:
            blocks[-1][1].append(line.text)
        elif blocks and calls(tree(line.text), "exercise"):
            blocks[-1] = (*blocks[-1][:2], line.text)
    found = [block for block in blocks if block[2] or block[0].startswith("### Exercise ")]
    if not found:
        raise ValueError(f"{notebook.name}: no heading '### Exercise 1 ★ …' and no @lab.exercise")
    return [
        Task(k, unlinked(without_solutions("\n".join([heading, *text]))).strip(), _spec(stub), stub, _points(heading))
        for k, (heading, text, stub) in enumerate(found, start=1)
    ]


def _points(heading: str) -> int:
    return max(1, heading.count("★"))


def _spec(source: str) -> str:
    found = calls(tree(source), "exercise")
    return ast.unparse(found[0].args[0]) if found else ""


def _definition(source: str) -> ast.FunctionDef:
    """The function under the first ``@lab.exercise``."""
    return next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and any(calls(line, "exercise") for line in node.decorator_list)
    )


# ---------------------------------------------------------------- the assignment


def assignment(notebook: Notebook) -> NotebookNode:
    """The lesson's exercises with their solutions, as nbgrader's ``generate_assignment`` wants them.

    Raises
    ------
    ValueError
        When there is no exercise, or one has no worked solution.
    """
    title = notebook.lines[0].text.removeprefix("# ")
    head = f"# Exercises: {title}\n\nReplace each `...`, or write below the question. Run a cell to check it."
    worked = _worked(notebook)
    setups = [nb.node.cells[setup_cell(nb)].source.splitlines() for nb in (worked, notebook)]
    setup = "\n".join(dict.fromkeys([line for lines in setups for line in lines if line.strip()]))
    cells = [new_markdown_cell(head), _marked(new_code_cell(setup), "setup", locked=True)]
    solutions = {_spec(cell.source): cell.source for _, cell in reversed(worked.code) if _spec(cell.source)}
    for task in tasks(notebook):
        name = f"exercise-{task.number}"
        cells.append(new_markdown_cell(task.text))
        if not task.spec:
            answer = new_markdown_cell("Your answer.")
            cells.append(_marked(answer, name, solution=True, grade=True, points=task.points))
            continue
        if task.spec not in solutions:
            raise ValueError(f"{notebook.name}: solutions/{notebook.path.name} does not solve {task.spec}")
        cells.append(_marked(new_code_cell(_solved(task.stub, solutions[task.spec])), f"{name}-answer", solution=True))
        test = f"# {task.points} of the marks: your function on inputs that are not shown.\n{HIDDEN[0]}\n"
        test += f"lab.grade({task.spec}, {task.function})\n{HIDDEN[1]}"
        cells.append(_marked(new_code_cell(test), name, grade=True, locked=True, points=task.points))
    for k, cell in enumerate(cells):
        cell.id = f"cell-{k}"
    return new_notebook(cells=cells, metadata=METADATA)


def _worked(notebook: Notebook) -> Notebook:
    path = notebook.path.parent / "solutions" / notebook.path.name
    if not path.exists():
        raise ValueError(f"{notebook.name}: solutions/{path.name} is missing")
    return Notebook.read(path)


def _solved(stub: str, solution: str) -> str:
    """The stub with the worked body, and what stands above it in its cell, between nbgrader's marks."""
    function, lines = _definition(solution), solution.splitlines()
    first = min([function.lineno, *(line.lineno for line in function.decorator_list)])
    above, body = lines[: first - 1], lines[function.body[0].lineno - 1 : function.end_lineno]
    before = [SOLUTION[0], *above, SOLUTION[1]] if any(line.strip() for line in above) else []
    own = _definition(stub)
    kept = stub.splitlines()[: own.body[-1].lineno - 1]  # decorator, signature, docstring
    if own.body[-1].lineno == own.lineno:
        kept = [*stub.splitlines()[: own.lineno - 1], stub.splitlines()[own.lineno - 1].rpartition("...")[0].rstrip()]
    return "\n".join([*before, *kept, f"    {SOLUTION[0]}", *body, f"    {SOLUTION[1]}"])


def _marked(cell: NotebookNode, name: str, **marks: object) -> NotebookNode:
    given = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3, "grade_id": name}
    cell.metadata["nbgrader"] = given | marks
    return cell


def write(paths: list[Path], out: Path) -> dict[str, NotebookNode]:
    """Write nbgrader's ``source`` folder and its configuration; the assignments by name."""
    made = {}
    for path in paths:
        made[path.stem] = assignment(Notebook.read(path))
        save(made[path.stem], out / "source" / path.stem / path.name)
    config = out / "nbgrader_config.py"
    if not config.exists():  # a lecturer's own settings stay
        config.write_text(CONFIG, encoding="utf-8")
    return made


# ---------------------------------------------------------------- the command


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.teach.assignments", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="nbgrader's course folder; keep your own outside build/")
    parser.add_argument("paths", nargs="*", type=Path, metavar="path", help="notebooks; all without any")
    options = parser.parse_args(arguments)
    made = write(options.paths or sorted((ROOT / "notebooks").glob("*.ipynb")), options.out)
    print(f"{len(made)} assignments in {options.out / 'source'}")
    record = options.out / "tried.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    keys = {name: _key(node) for name, node in made.items()}
    new = {name: node for name, node in made.items() if known.get(name) != keys[name]}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbgrader's own, about its database
        marks = trial(new, Path(folder)) if new else {}
    for name, given in marks.items():
        print(name, *(f"  {student}: {_shown(cells)}" for student, cells in given.items()), sep="\n")
    wrong = list(complaints(new, marks))
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    if not wrong:
        record.write_text(json.dumps(known | keys, indent=1), encoding="utf-8")
    return 1 if wrong else 0


def _shown(cells: dict[str, float | None]) -> str:
    return ", ".join(f"{cell} {'by hand' if score is None else f'{score:g}'}" for cell, score in sorted(cells.items()))


def _key(node: NotebookNode) -> str:
    """Of an assignment and the helpers that grade it."""
    helpers = [path.read_bytes() for path in sorted((ROOT / "helpers").rglob("*.py"))]
    return hashlib.sha256(b"\0".join([nbformat.v4.writes(node).encode(), *helpers])).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
