"""Every Explorer of every notebook, moved over the whole range of its controls; every exercise, answered wrongly.

Both kinds of cell depend on the setup cell of their notebook only, so that they can be run alone.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from helpers import lab
from tests import collection as see
from tests.collection import LESSONS, NOTEBOOKS, SOLUTIONS
from tools.notebooks import Notebook, nearly_equal

EXPLORERS_PER_LESSON = range(2, 5)
NOT_RUN = "run the cell to move it]"  # how the sentence of a saved Explorer ends
# Measuring coverage adds half to the time. What counts as covered is what the tests of the pictures and exercises run.
pytestmark = pytest.mark.no_cover


def build_explorer(notebook: Notebook, cell: int) -> lab.Explorer:
    """Run the setup cell and the Explorer's cell, nothing else."""
    value, _ = see.run_cells(notebook, see.setup_cell(notebook), cell)
    assert isinstance(value, lab.Explorer), (
        f"{notebook.at(cell)}: an Explorer must be the last expression of its cell, got {type(value).__name__}"
    )
    return value


def saved_twins(notebook: Notebook, cell: int) -> list[dict[str, str]]:
    """What a reader without a kernel sees of the Explorers of a cell: sentences and pictures."""
    bundles = [output.get("data", {}) for output in notebook.node.cells[cell].outputs]
    return [bundle for bundle in bundles if bundle.get("text/plain", "").endswith(NOT_RUN)]


def moves_everywhere(notebook: Notebook, cell: int) -> None:
    """Fail unless the Explorer shows at its defaults what is saved, and survives every position of its controls."""
    with see.as_in_a_kernel(notebook.path.parent):
        try:
            explorer = build_explorer(notebook, cell)
            now = explorer._repr_mimebundle_()[0]
            saved = saved_twins(notebook, cell)
            said = [twin["text/plain"] for twin in saved]
            assert said == [now["text/plain"]], (
                f"{notebook.at(cell)}: saved sentence\n  {said}\nbut it now says\n  {now['text/plain']!r}"
            )
            same = nearly_equal(saved[0]["image/png"], base64.b64encode(now["image/png"]).decode())
            assert same, f"{notebook.at(cell)}: the saved picture is not the one that is drawn now"
            explorer.sweep()
        except Exception as error:
            error.add_note(f"in {notebook.at(cell)}")
            raise


def explorers_are_counted(notebook: Notebook) -> None:
    """Fail unless there are two to four, each built where it is shown, one to a cell."""
    built = [cell for cell, calls in see.cells_that_call(notebook, "Explorer") for _ in calls]
    shown = [cell for cell, _ in notebook.code for _ in saved_twins(notebook, cell)]
    assert built == shown == sorted(set(built)), f"{notebook.name}: Explorers built in {built} but shown in {shown}"
    assert len(built) in EXPLORERS_PER_LESSON, f"{notebook.name}: has {len(built)} Explorers, should have 2 to 4"


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_lesson_has_its_explorers(path):
    explorers_are_counted(see.read(path))


@pytest.mark.parametrize(
    ("path", "cell"),
    [(path, cell) for path in NOTEBOOKS for cell, _ in see.cells_that_call(see.read(path), "Explorer")],
    ids=see.name,
)
def test_explorer_moves_everywhere(path, cell):
    moves_everywhere(see.read(path), cell)


WRONG: Mapping[str, Callable[[Any], Any]] = {
    "result + 1": lambda array: array + 1,
    "result × 1.01": lambda array: array * 1.01,
    "result × 0": lambda array: array * 0,
}


def spoil(answer: Any, change: Callable[[Any], Any]) -> Any:
    """Change every number of an answer: a number, an array, or a tuple, list or mapping of them."""
    if isinstance(answer, Mapping):
        return {key: spoil(value, change) for key, value in answer.items()}
    if isinstance(answer, tuple | list):
        return type(answer)(spoil(value, change) for value in answer)
    return change(np.asarray(answer, dtype=float))


def said_about(spec: lab.Exercise, answer: Callable) -> str:
    """What the exercise says to an answer that it refuses."""
    try:
        lab.exercise(spec)(answer)
    except lab.WrongAnswer as refusal:
        return str(refusal)
    return "right"


def refuses_wrong_answers(notebook: Notebook, cell: int, spec: str, function: str) -> None:
    """Fail unless the exercise accepts the worked solution and refuses each of three spoilt ones."""
    with see.as_in_a_kernel(notebook.path.parent):
        _, namespace = see.run_cells(notebook, see.setup_cell(notebook), cell)
        exercise, right = eval(spec, namespace), namespace[function]
        assert said_about(exercise, right) == "right"
        for title, change in WRONG.items():

            def wrong(*given: Any, change: Callable = change, **named: Any) -> Any:
                return spoil(right(*given, **named), change)

            said = said_about(exercise, wrong)
            assert "violated" in said, f"{notebook.at(cell)}: {spec}, given a wrong answer ({title}), said: {said}"


@pytest.mark.parametrize(
    ("path", "cell", "spec", "function"),
    [
        (path, cell, spec, node.name)
        for path in SOLUTIONS
        for cell, spec, node in see.exercise_functions(see.read(path))
    ],
    ids=see.name,
)
def test_exercise_refuses_wrong_answers(path, cell, spec, function):
    refuses_wrong_answers(see.read(path), cell, spec, function)


def test_there_are_explorers_and_exercises():
    assert any(see.cells_that_call(see.read(path), "Explorer") for path in NOTEBOOKS)
    assert any(see.exercise_functions(see.read(path)) for path in SOLUTIONS)
