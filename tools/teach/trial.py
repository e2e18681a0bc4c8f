"""nbgrader's settings, and what it gives to a right, a wrong and an untouched submission of an assignment."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config, PyFileConfigLoader

CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "movable-derivations"
c.ClearSolutions.code_stub = {"python": "..."}
c.Execute.timeout = 120
c.Execute.extra_arguments = ["--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=ERROR"]
"""
STUDENTS = ("right", "wrong", "untouched")

Marks = dict[str, dict[str, float | None]]  # student -> cell -> marks; None where a person has to decide


def trial(made: dict[str, NotebookNode], folder: Path) -> dict[str, Marks]:
    """What nbgrader gives to a right, a wrong and an untouched submission of every assignment."""
    from nbgrader.apps import NbGraderAPI  # here alone: the rest needs no nbgrader

    # nbgrader runs alembic by name
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    config.merge(Config({"CourseDirectory": {"root": str(folder)}, "NbGrader": {"logfile": ""}}))
    api = NbGraderAPI(config=config)
    marks: dict[str, Marks] = {}
    for name, source in made.items():
        file = f"{name}.ipynb"
        save(source, folder / "source" / name / file)
        _must(api.generate_assignment(name, force=True, create=True))
        release = nbformat.read(folder / "release" / name / file, as_version=4)
        for student in STUDENTS:
            save(_submission(source, release, student), folder / "submitted" / student / name / file)
            _must(api.autograde(name, student, force=True, create=True))
        with api.gradebook as gradebook:
            marks[name] = {
                student: {
                    grade.cell.name: None if grade.needs_manual_grade else grade.score
                    for grade in gradebook.find_submission_notebook(name, name, student).grades
                }
                for student in STUDENTS
            }
    return marks


def save(node: NotebookNode, path: Path) -> None:
    """Write a notebook that is no notebook of the collection."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.v4.writes(node) + "\n", encoding="utf-8", newline="\n")


def _must(result: dict) -> None:
    if not result["success"]:
        raise RuntimeError(f"nbgrader failed:\n{result.get('error') or result.get('log')}")


def _submission(source: NotebookNode, release: NotebookNode, student: str) -> NotebookNode:
    """The released notebook, its answers replaced by the worked ones, or by functions that return one number."""
    node, worked = nbformat.from_dict(release), {cell.id: cell.source for cell in source.cells}
    for cell in node.cells:
        if not cell.metadata.get("nbgrader", {}).get("solution") or student == "untouched":
            continue
        if cell.cell_type == "markdown":
            cell.source = "Because."
        else:
            cell.source = worked[cell.id] if student == "right" else cell.source.replace("...", "return 0.123")
    return node


def complaints(made: dict[str, NotebookNode], marks: dict[str, Marks]) -> Iterator[str]:
    """Marks that are not what they should be: full, none and none, words left to a person unless untouched."""
    for name, given in marks.items():
        points = {
            cell.metadata.nbgrader.grade_id: (cell.metadata.nbgrader.points, cell.cell_type == "markdown")
            for cell in made[name].cells
            if cell.metadata.get("nbgrader", {}).get("grade")
        }
        full = {cell: None if words else float(value) for cell, (value, words) in points.items()}
        none = {cell: None if words else 0.0 for cell, (_, words) in points.items()}
        for student, due in zip(STUDENTS, (full, none, dict.fromkeys(none, 0.0)), strict=True):
            if given[student] != due:
                yield f"{name}: a {student} submission got {given[student]}, should get {due}"
