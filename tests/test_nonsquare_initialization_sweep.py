"""The stored table of notebook 06: the script's settings, whole rows, and losses that the code of today still gives."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.example_scripts import load

ROOT = Path(__file__).parents[1]
STORED = ROOT / "helpers/stored/nonsquare_initialization_sweep.json"


@pytest.fixture(scope="module")
def sweep():
    return load("nonsquare_initialization_sweep")


@pytest.fixture(scope="module")
def table():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(sweep):
    return sweep.digits_split()


def test_stored_settings_are_those_of_the_script(sweep, table):
    assert [row["settings"] for row in table["rows"]] == sweep.cells()
    assert table["steps_per_loss"] == sweep.BLOCK
    assert STORED.stat().st_size < 120_000


def test_every_row_is_trained_once_on_five_seeds_or_more(sweep):
    rows = sweep.cells()
    assert len({json.dumps(row) for row in rows}) == len(rows)
    assert min(row["seeds"] for row in rows) >= 5
    assert sweep.chain(2) == [64, 256, 64, 256, 64, 10]


def test_stored_rows_are_whole(sweep, table):
    for row in table["rows"]:
        settings = row["settings"]
        steps = settings["epochs"] * (1347 // 64)
        assert len(row["losses"]) == steps // sweep.BLOCK
        for key in ("train_loss", "test_loss", "test_accuracy"):
            if key == "test_accuracy" and settings["section"] == "autoencoder":
                assert key not in row
                continue
            assert len(row[key]) == settings["seeds"]
            assert all(value is None or value > 0 for value in row[key])
        hits = 450 * np.array([value for value in row.get("test_accuracy", []) if value is not None])
        assert np.abs(hits - hits.round()).max(initial=0) < 0.03  # four digits of a share of 450
        diverged = [value is None for value in row["train_loss"]]
        assert diverged == [value is None for value in row["test_loss"]]
        assert not any(diverged) or settings["learning_rate"] >= 0.1
    assert table["seconds"] == pytest.approx(sum(row["seconds"] for row in table["rows"]), abs=0.1)


def test_the_grid_of_adam_reaches_beyond_the_best_step_of_every_scheme(sweep, table):
    for scheme in sweep.SCHEMES:
        rows = [row["settings"] | row for row in table["rows"] if row["settings"]["section"] == "Adam"]
        losses = {row["learning_rate"]: np.median(row["train_loss"]) for row in rows if row["scheme"] == scheme}
        assert min(losses) < min(losses, key=losses.get) < max(losses)


@pytest.mark.parametrize("section", ["depth", "Adam", "tanh", "autoencoder"])
@pytest.mark.parametrize("scheme", ["geometric", "orthogonal"])
def test_stored_losses_are_those_of_today(sweep, table, data, section, scheme):
    of_scheme = {"section": section, "scheme": scheme}.items()
    row = [row for row in table["rows"] if of_scheme <= row["settings"].items()][-1]
    today = sweep.first_losses(row["settings"], data)
    assert len(today) == sweep.FIRST_STEPS
    np.testing.assert_allclose(row["first_losses"], today, rtol=1e-6)


def test_arguments_and_targets(sweep, data):
    settings = sweep.cells()[0]
    given = sweep.arguments(settings)
    assert given["seeds"] == range(5)
    assert "section" not in given
    images, labels = data[:2]
    assert sweep.targets(settings, images, labels) is labels
    assert sweep.targets(settings | {"section": "autoencoder"}, images, labels) is images


def test_numbers_that_are_not_finite_are_stored_as_none(sweep):
    assert sweep.finite(torch.tensor([0.123456, math.nan, math.inf])) == [0.1235, None, None]


def test_quick_sweep_writes_every_kind_of_row(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "FIRST_STEPS", 1)
    short = {"widths": [64, 16, 10]}
    quick = [row | (short if row["section"] != "autoencoder" else {}) for row in sweep.quick_cells()]
    monkeypatch.setattr(sweep, "quick_cells", lambda: quick)
    out = tmp_path / "table.json"
    sweep.main(["--quick", "--out", str(out)])
    first = json.loads(out.read_text(encoding="utf-8"))
    assert [row["settings"] for row in first["rows"]] == quick
    assert [row["section"] for row in quick] == ["depth", "Adam", "tanh", "autoencoder"]
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    assert "4/4" in capsys.readouterr().err


def test_a_diverged_run_is_stored_with_none(sweep, data):
    settings = sweep.cells()[0] | {"widths": [64, 16, 10], "learning_rate": 1e20, "seeds": 2, "epochs": 1}
    row = sweep.train(settings, data)
    assert row["train_loss"] == row["test_accuracy"] == [None, None]
