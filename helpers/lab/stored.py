"""Results too slow for a notebook: tables in helpers/stored that a script fills row by row, and how they are read."""

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from tqdm import tqdm

Row = dict[str, Any]


class Stored:
    """The table ``helpers/stored/<name>.json``: rows, each with its settings, and what holds for all of them.

    Parameters
    ----------
    name : str
        Of the file, without its ending; ``examples/<name>.py`` made it.

    Attributes
    ----------
    rows : list of dict
        In the order in which they were made; ``row["settings"]`` is what a row was made with.
    common : dict
        Everything else in the file: data, versions, time.

    Raises
    ------
    ValueError
        When there is no such file.

    Examples
    --------
    >>> Stored("contrastive_sweep").row(section="paired", loss="FlatNCE", batch_size=8)["settings"]["steps"]
    3000
    """

    def __init__(self, name: str) -> None:
        folder = resources.files("helpers") / "stored"
        files = {file.name.removesuffix(".json"): file for file in folder.iterdir() if file.name.endswith(".json")}
        if name not in files:
            raise ValueError(f"name must be one of {tuple(sorted(files))}, got {name!r}")
        self.common: dict[str, Any] = json.loads(files[name].read_text(encoding="utf-8"))
        self.rows: list[Row] = self.common.pop("rows")

    def select(self, **settings: Any) -> list[Row]:
        """Rows that have all these settings."""
        return [row for row in self.rows if settings.items() <= row["settings"].items()]

    def row(self, **settings: Any) -> Row:
        """The one row with these settings.

        Raises
        ------
        ValueError
            When there is none, or more than one.
        """
        found = self.select(**settings)
        if len(found) != 1:
            raise ValueError(f"settings must select one stored row, {settings} select {len(found)}")
        return found[0]


def command_line(name: str, description: str, given: Sequence[str] | None = None) -> tuple[Path, bool]:
    """Where a script writes its table, and whether it is only to be tried out (``--quick``, which needs ``--out``)."""
    stored = Path(__file__).parents[1] / "stored" / f"{name}.json"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps of every kind of row")
    parser.add_argument("--out", type=Path, default=stored)
    options = parser.parse_args(given)
    if options.quick and options.out == stored:
        parser.error("--quick needs --out: it would overwrite the stored table")
    return options.out, options.quick


def fill(out: Path, wanted: Iterable[dict], make: Callable[[dict], Row], common: Mapping[str, Any]) -> None:
    """Make the rows that `out` does not hold yet, with a progress bar; the file is written anew after each.

    Parameters
    ----------
    out : Path
        The table. Rows in it with other settings go when all wanted ones are there.
    wanted : iterable of dict
        Settings of the rows, in order.
    make : callable, settings -> row
        The row holds ``settings`` and ``seconds``.
    common : mapping
        What holds for all rows; versions and the sum of the seconds are added.
    """
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    rows: list[Row] = []
    for settings in tqdm(list(wanted), desc="rows", unit="row"):
        rows.append(next((row for row in old if row["settings"] == settings), None) or make(settings))
        _write(out, rows + [row for row in old if row not in rows], common)
    _write(out, rows, common)


def _write(path: Path, rows: Sequence[Row], common: Mapping[str, Any]) -> None:
    """One line per row, and never half a file."""
    versions = {"python": platform.python_version()}
    versions |= {package: metadata.version(package) for package in ("numpy", "scikit-learn", "torch")}
    head = {**common, "versions": versions, "seconds": round(sum(row["seconds"] for row in rows), 1)}
    lines = ",\n".join(json.dumps(row) for row in rows)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n' + lines + "\n ]\n}\n", encoding="utf-8")
    part.replace(path)
