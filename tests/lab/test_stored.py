"""Stored tables: what is read is what the file says; what a script makes is kept and not made twice."""

import json
from importlib import resources
from pathlib import Path

import pytest

from helpers.lab import Stored
from helpers.lab.stored import command_line, fill

FOLDER = Path(__file__).parents[2] / "helpers/stored"


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_a_table_is_what_the_file_says(path):
    content, table = json.loads(path.read_bytes()), Stored(path.stem)
    assert table.rows == content.pop("rows")
    assert table.common == content
    assert {"versions", "seconds"} <= set(content)
    assert len(path.read_text(encoding="utf-8").splitlines()) > len(table.rows)  # a line each, for diffs


@pytest.fixture
def table(tmp_path, monkeypatch):
    (tmp_path / "stored").mkdir()
    rows = [
        {"settings": {"loss": loss, "τ": tau}, "k": k} for k, (loss, tau) in enumerate([("a", 1), ("a", 2), ("b", 1)])
    ]
    files = {"b.json": json.dumps({"note": "x", "rows": rows}), "a.c.json": '{"rows": []}', "README.md": "none"}
    for name, content in files.items():
        (tmp_path / "stored" / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(resources, "files", {"helpers": tmp_path}.__getitem__)
    return Stored("b")


def test_rows_are_found_by_their_settings(table):
    assert table.common == {"note": "x"}
    assert [row["k"] for row in table.select(loss="a")] == [0, 1]
    assert [row["k"] for row in table.select()] == [0, 1, 2]
    assert table.select(loss="a", seeds=5) == []
    assert table.row(loss="a", **{"τ": 2})["k"] == 1


@pytest.mark.parametrize(("settings", "count"), [({"loss": "a"}, 2), ({"loss": "c"}, 0), ({}, 3)])
def test_settings_that_do_not_select_one(table, settings, count, refuses):
    with refuses(ValueError, f"settings must select one stored row, {settings} select {count}"):
        table.row(**settings)


@pytest.mark.parametrize("name", ["", "c", "b.json", "README.md", "README", "../stored/b", None])
def test_an_unknown_name_is_refused_and_told_what_there_is(name, table, refuses):
    with refuses(ValueError, f"name must be one of ('a.c', 'b'), got {name!r}"):
        Stored(name)


def test_command_line(tmp_path):
    assert command_line("x_sweep", "Train.\n\nMore.", []) == (FOLDER / "x_sweep.json", False)
    assert command_line("x_sweep", "Train.", ["--quick", "--out", str(tmp_path / "t")]) == (tmp_path / "t", True)
    assert command_line("x_sweep", "Train.", ["--out", "t.json"]) == (Path("t.json"), False)


@pytest.mark.parametrize("given", [["--quick"], ["--quick", "--out", str(FOLDER / "x_sweep.json")]])
def test_quick_never_overwrites_the_stored_table(given, capsys):
    with pytest.raises(SystemExit):
        command_line("x_sweep", "Train the rows.\n\nMore.", given)
    assert "--quick needs --out: it would overwrite the stored table" in capsys.readouterr().err


def test_help_says_what_the_script_does(capsys):
    with pytest.raises(SystemExit):
        command_line("x_sweep", "Train the rows.\n\nMore.", ["--help"])
    said = capsys.readouterr().out
    assert "Train the rows." in said
    assert "More." not in said


def settings_of(path):
    return [row["settings"] for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def test_rows_are_made_once_and_those_of_other_settings_go(tmp_path, capsys):
    out, made = tmp_path / "t.json", []

    def make(settings):
        made.append(settings)
        return {"settings": settings, "seconds": 0.25, "τ": 1}

    wanted = [{"n": n} for n in range(3)]
    fill(out, iter(wanted), make, {"data": "none", "seconds": 9})
    assert made == settings_of(out) == wanted
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["data"] == "none"
    assert content["seconds"] == 0.8  # the sum of the rows to one digit, whatever is handed in
    assert set(content["versions"]) == {"python", "numpy", "scikit-learn", "torch"}
    assert "3/3" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]

    fill(out, [{"n": 2}, {"n": 5}, {"n": 0}], make, {})
    assert made == [*wanted, {"n": 5}]
    assert settings_of(out) == [{"n": 2}, {"n": 5}, {"n": 0}]
    assert "data" not in json.loads(out.read_text(encoding="utf-8"))


def test_an_interrupted_script_keeps_new_rows_and_old_ones(tmp_path):
    def make(settings):
        if settings["n"] == 2:
            raise KeyboardInterrupt
        return {"settings": settings, "seconds": 1.0}

    out = tmp_path / "t.json"
    fill(out, [{"n": 7}], make, {})
    with pytest.raises(KeyboardInterrupt):
        fill(out, [{"n": n} for n in range(4)], make, {})
    assert settings_of(out) == [{"n": 0}, {"n": 1}, {"n": 7}]
