"""What students get holds no solution, keeps every stub, has no dead link, and runs on nothing but itself."""

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from tests import collection as see
from tests.collection import LESSONS, NOTEBOOKS, SOLUTIONS
from tools.notebooks import ROOT, Notebook, execute
from tools.site.source import front_page
from tools.teach import student


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder as `make student` makes it."""
    folder = tmp_path_factory.mktemp("student") / "movable-derivations"
    assert [copy.name for copy in student.copy_for_students(folder)] == [path.name for path in NOTEBOOKS]
    return folder


def test_nothing_is_given_away(made):
    assert student.complaints(made) == []
    assert not (made / "notebooks/solutions").exists()
    assert not (made / "tests").exists()
    worked = {cell.source for path in SOLUTIONS for _, cell in see.read(path).code if "@lab.exercise" in cell.source}
    given = {cell.source for path in made.glob("notebooks/*.ipynb") for _, cell in Notebook.read(path).code}
    assert worked
    assert not worked & given


def test_every_stub_is_there_and_says_not_attempted(made):
    for path in NOTEBOOKS:
        copy = Notebook.read(made / "notebooks" / path.name)
        stubs = see.exercise_functions(copy)
        assert [spec for _, spec, _ in stubs] == [spec for _, spec, _ in see.exercise_functions(see.read(path))]
        for k, *_ in stubs:
            assert "not attempted" in copy.node.cells[k].outputs[0].text


def test_every_link_leads_somewhere(made):
    for path in made.rglob("*.ipynb"):
        for _, source in see.markdown(Notebook.read(path)):
            for target in re.findall(r"\]\((?!https?:|#)([^)\s]*)\)", re.sub(r"\$[^$]*\$|`[^`]*`", "", source)):
                assert (path.parent / unquote(target).partition("#")[0]).exists(), (path.name, target)
    readme = (made / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\]\((notebooks/\S+)\)", readme)) == len(NOTEBOOKS)
    assert all((made / target).exists() for target in re.findall(r"\]\((notebooks/\S+)\)", readme))


def test_nothing_is_for_lecturers_and_no_sentence_is_cut(made):
    copies = [Notebook.read(path) for path in made.glob("notebooks/*.ipynb")]
    text = "\n".join(source for copy in copies for _, source in see.markdown(copy))
    assert "## For lecturers" not in text
    assert "Replace `...` and run the cell." in text
    assert not re.search(r"[Ww]orked solutions?\b", text)


def test_it_runs_on_its_own_files(made, monkeypatch):
    path = made / "notebooks" / NOTEBOOKS[0].name
    notebook = Notebook.read(path)
    notebook.node.cells.append(nbformat.v4.new_code_cell("import helpers\nprint(helpers.__file__)"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(made), str(ROOT / "tests" / "offline")]))
    execute(notebook)
    *_, last = notebook.node.cells
    assert last.outputs[0].text.startswith(str(made))
    assert [cell.outputs[0].text for _, cell in notebook.code if "@lab.exercise(" in cell.source] == [
        "Exercise 1: the smallest n that is close enough: not attempted\n"
    ]


def test_the_makefile_offers_what_works(made):
    def make(*arguments):
        return subprocess.run(["make", "-C", made, *arguments], capture_output=True, text=True, check=True).stdout

    assert set(re.findall(r"^make (\S+)", make("help"), re.MULTILINE)) == {"lab", "clean"}
    assert ".venv/bin/python -m jupyterlab" in make("-n", "lab")
    assert "rm -rf .venv" in make("-n", "clean")
    text = (made / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"^([\w./-]+):(?!=)", text, re.MULTILINE)) == {"help", "lab", "clean", ".venv/lab", ".PHONY"}


def test_what_the_website_needs_is_there(made):
    """`make site-student` reads the opening, the section on the notebooks and the Chinese pages of this folder."""
    page = front_page((made / "README.md").read_text(encoding="utf-8"), {"notebooks/a.ipynb", "course/zh/a.md"})
    assert page.startswith("# Movable Derivations\n")
    assert page.count("](notebooks/") == len(NOTEBOOKS)
    assert "## Install" not in page
    assert {path.name for path in made.glob("course/**/*.md")} == {f"{path.stem}.md" for path in LESSONS}


def test_what_the_stored_results_need_is_there(made):
    assert (made / "helpers/stored/contrastive_sweep.json").exists()


def test_the_zip_is_the_folder_and_repeats(tmp_path):
    folder = tmp_path / "small"
    for name in ("README.md", "notebooks/a.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    archive = student.pack(folder)
    first = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        assert {name: opened.read(name).decode() for name in opened.namelist()} == {
            "small/README.md": "README.md", "small/notebooks/a.ipynb": "notebooks/a.ipynb",
        }  # fmt: skip
    os.utime(folder / "README.md", (0, 0))
    assert student.pack(folder).read_bytes() == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cell: setattr(cell, "source", "def enough(): ..."), "lacks the stub\n@lab.exercise(exercises.enough)"),
        (
            lambda cell: setattr(cell, "source", f"{cell.source}\n    while np.exp(x) - (1 + x / n) ** n > tolerance:"),
            "holds a line of its solution: while np.exp(x)",
        ),
        (lambda cell: setattr(cell, "source", f"{cell.source}  # solutions/"), "names the folder of solutions"),
    ],
)
def test_what_slips_in_is_noticed(made, tmp_path, change, said):
    copy = shutil.copytree(made, tmp_path / "copy")
    path = copy / "notebooks" / NOTEBOOKS[0].name
    node = Notebook.read(path).node
    change(next(cell for cell in node.cells if "@lab.exercise(exercises.enough)" in cell.source))
    path.write_text(nbformat.v4.writes(node), encoding="utf-8")
    assert said in "\n".join(student.complaints(copy))
    path.unlink()
    assert f"{path.name} is missing" in student.complaints(copy)


def test_nothing_is_packed_that_gives_an_answer_away(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(student, "copy_for_students", lambda folder: [])
    monkeypatch.setattr(student, "complaints", lambda folder: ["01.ipynb holds a line of its solution: x"])
    assert student.main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "01.ipynb holds a line of its solution: x\n"
    assert list(tmp_path.iterdir()) == []
