"""`make student`: what students get, as a folder and a zip: notebooks without solutions, and all they need to run.

Outputs stay, so that a notebook can be read before it is run; exercises say "not attempted" in them. Sentences that
link to worked solutions go, and other links that would lead out of the folder become plain words.
"""

import argparse
import re
import shutil
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.links import relink, without_solutions
from tools.notebooks import ROOT, Notebook, serialise

OUT = ROOT / "build" / "student"
FILES = ("LICENSE", "LICENSE-TEXT", "pyproject.toml", "requirements.lock", "environment.yml")
TARGETS = {"help", "lab", "clean", ".venv/lab"}  # of the Makefile
README = """\
{opening}

## The notebooks

{lessons}

## Install

At home, before class: this downloads PyTorch and more, and takes about 1.5 GB of disk. Afterwards no network is needed.
You need Python 3.11 to 3.14. On macOS: `make lab`. On Linux, without what only graphics cards need:

```
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make lab
```

On Windows: `py -m venv .venv`, then `.venv\\Scripts\\pip install -c requirements.lock -e .`, then
`.venv\\Scripts\\jupyter lab notebooks\\00_start_here.ipynb`.

With a telephone or a tablet: ask your lecturer for the web pages of these notebooks.

Begin with `notebooks/00_start_here.ipynb`. Each exercise checks itself: replace `...` and run its cell.

## Licence

Text: CC BY 4.0 (LICENSE-TEXT). Code: BSD-3-Clause (LICENSE).
"""
NOT_FOR_STUDENTS = "## For lecturers"  # how a cell begins that students do not get
MINUTE = (2020, 1, 1, 0, 0, 0)  # of every file in the zip: the same content makes the same zip

_SKIPPED = shutil.ignore_patterns("__pycache__", ".*", "*.part")


def copy_for_students(folder: Path, root: Path = ROOT) -> list[Path]:
    """Make the folder anew; the notebooks in it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "notebooks").mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(root / name, folder / name)
    shutil.copytree(root / "helpers", folder / "helpers", ignore=_SKIPPED)
    sources = [Notebook.read(path) for path in sorted((root / "notebooks").glob("*.ipynb"))]
    for name in sorted({name for source in sources for name in _scripts(source)}):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    shutil.copytree(root / "course" / "zh", folder / "course" / "zh")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    (folder / "Makefile").write_text(makefile_for_students(makefile), encoding="utf-8")
    opening = (root / "README.md").read_text(encoding="utf-8").partition("\n\n![")[0]
    lessons = "\n".join(f"- [{_title(source)}](notebooks/{source.path.name})" for source in sources)
    (folder / "README.md").write_text(README.format(opening=opening, lessons=lessons), encoding="utf-8")
    copies = [folder / "notebooks" / source.path.name for source in sources]
    for copy in copies:
        copy.touch()  # so that links between notebooks are seen to lead somewhere

    def within(address: str) -> str:
        path = urlsplit(address)
        return address if path.scheme or (folder / "notebooks" / unquote(path.path)).exists() else ""

    for source, copy in zip(sources, copies, strict=True):
        source.node.cells = [cell for cell in source.node.cells if not cell.source.startswith(NOT_FOR_STUDENTS)]
        for cell in source.node.cells:
            cell.metadata.pop("slideshow", None)
            if cell.cell_type == "markdown":
                cell.source = relink(without_solutions(cell.source), within)
        copy.write_text(serialise(source.node), encoding="utf-8", newline="\n")
    return copies


def makefile_for_students(text: str) -> str:
    """The Makefile with the rules in TARGETS alone: for the others the files are missing."""
    blocks = text.rstrip().split("\n\n")[:-1]  # the last one names all targets
    kept = []
    for block in blocks:
        rules = re.findall(r"^([\w./-]+):(?!=)", block, re.MULTILINE)
        if set(rules) <= TARGETS:
            said = [line for line in block.splitlines() if _target_described(line) in TARGETS | {""}]
            kept.append("\n".join(said))
    return "\n\n".join([*kept, f".PHONY: {' '.join(sorted(TARGETS - {'.venv/lab'}))}"]) + "\n"


def _target_described(line: str) -> str:
    found = re.match(r"# make (\S+)", line)
    return found[1] if found else ""


def _scripts(notebook: Notebook) -> set[str]:
    """Scripts that the text tells the reader to run."""
    text = "\n".join(line.text for line in notebook.lines if line.kind == "prose")
    return set(re.findall(r"`((?:examples|benchmarks)/\w+\.py)", text))


def _title(notebook: Notebook) -> str:
    return notebook.lines[0].text.removeprefix("# ")


def pack(folder: Path) -> Path:
    """The folder as a zip beside it, the same bytes for the same files."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", MINUTE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return target


def complaints(folder: Path, root: Path = ROOT) -> list[str]:
    """Solutions that slipped in, and stubs that got lost."""
    found = []
    everything = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".ipynb", ".md", ".py")
    }
    found += [f"{name} names the folder of solutions" for name, text in everything.items() if "solutions/" in text]
    for path in sorted((root / "notebooks" / "solutions").glob("*.ipynb")):
        copy = folder / "notebooks" / path.name
        if not copy.exists():
            found.append(f"{copy.name} is missing")
            continue
        lesson = Notebook.read(root / "notebooks" / path.name)
        stubs = [cell.source for _, cell in lesson.code if "@lab.exercise(" in cell.source]
        cells = [cell.source for cell in Notebook.read(copy).node.cells]
        found += [f"{copy.name} lacks the stub\n{stub}" for stub in stubs if stub not in cells]
        stated = "\n".join(cell.source for cell in lesson.node.cells)  # what a lesson shows on purpose
        for line in {line.strip() for _, cell in Notebook.read(path).code for line in cell.source.splitlines()}:
            if len(line) > 20 and line not in stated and any(line in cell for cell in cells):
                found.append(f"{copy.name} holds a line of its solution: {line}")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.teach.student", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    folder = options.out / "movable-derivations"
    copies = copy_for_students(folder)
    if wrong := complaints(folder):
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    archive = pack(folder)
    print(f"{archive}: {len(copies)} notebooks, {archive.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
