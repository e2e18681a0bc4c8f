"""The stored table: the script's settings, complete rows, and losses that the code of today still gives."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.example_scripts import load

ROOT = Path(__file__).parents[1]
STORED = ROOT / "helpers/stored/transformer_initialization_sweep.json"


@pytest.fixture(scope="module")
def sweep():
    return load("transformer_initialization_sweep")


@pytest.fixture(scope="module")
def table():
    return json.loads(STORED.read_text(encoding="utf-8"))


def test_stored_settings_are_those_of_the_script(sweep, table):
    assert [row["settings"] for row in table["rows"]] == sweep.cells()
    assert STORED.stat().st_size < 50_000
    rows = sweep.cells()
    assert len({json.dumps(row) for row in rows}) == len(rows) == 21
    assert {row["seeds"] for row in rows} == {5}


def test_stored_rows_are_whole(sweep, table):
    for row in table["rows"]:
        losses, steps = np.array(row["loss"]), row["settings"]["steps"]
        assert losses.shape == (5, steps // sweep.BLOCK)
        assert np.allclose(losses[:, -sweep.LAST // sweep.BLOCK :].mean(axis=1), row["final"], atol=1e-3)
        assert np.isfinite(losses).all()
        assert losses.min() > 0
        assert ("largest_alpha" in row) == (row["settings"]["placement"] == "rezero")
        assert losses[:, -1].mean() < 1.1 * math.log(sweep.VOCAB)
    assert table["seconds"] == pytest.approx(sum(row["seconds"] for row in table["rows"]), abs=0.5)


@pytest.mark.parametrize("k", [1, 2, 11, 13, 15, 16, 18, 20])
def test_stored_losses_are_those_of_today(sweep, table, k):
    row = table["rows"][k]
    today = sweep.first_losses(row["settings"])
    assert len(today) == sweep.FIRST_STEPS
    np.testing.assert_allclose(row["first_losses"], today, rtol=1e-6)


def test_scaled_t5_and_split_are_one_function_at_first(sweep, table):
    first = {
        (row["settings"]["placement"], row["settings"]["lr"], row["settings"]["attention"]): row["first_losses"]
        for row in table["rows"]
        if row["settings"]["section"] == "attention"
    }
    for placement, lr in {key[:2] for key in first}:
        scaled, unscaled, t5, split = (first[placement, lr, name] for name in ("scaled", "unscaled", "t5", "split"))
        assert t5[0] == pytest.approx(scaled[0], rel=1e-8)
        assert split[0] == pytest.approx(scaled[0], rel=1e-8)
        assert t5[1] != pytest.approx(scaled[1], rel=1e-8)
        assert unscaled[0] != pytest.approx(scaled[0], rel=1e-4)


def test_weights_have_the_deviation_of_the_cut_law(sweep):
    model = sweep.build(sweep.cells()[-1], seed=0, dtype=torch.float64)
    weight = model.tower.blocks[1].branch.first.weight.detach()
    assert weight.dtype == torch.float64
    assert float(weight.std()) == pytest.approx(0.8796 / 8, rel=0.02)
    assert float(weight.abs().max()) <= 2 / 8


def test_a_loss_that_is_not_finite_counts_as_guessing(sweep, monkeypatch):
    def overflow(*args, **options):
        raise FloatingPointError

    monkeypatch.setattr(sweep, "train_mlm", overflow)
    assert sweep.run(sweep.cells()[0], 0, 3)["loss"].tolist() == [math.log(16)] * 3


def test_quick_sweep_writes_every_kind_of_row(sweep, monkeypatch, tmp_path, capsys):
    two = [sweep.cells()[0], sweep.cells()[16]]
    monkeypatch.setattr(sweep, "cells", lambda: two)
    out = tmp_path / "table.json"
    sweep.main(["--quick", "--out", str(out)])
    first = json.loads(out.read_text(encoding="utf-8"))
    assert [row["settings"] for row in first["rows"]] == [row | {"seeds": 2, "steps": 20} for row in sweep.cells()]
    assert [np.shape(row["loss"]) for row in first["rows"]] == [(2, 2)] * 2
    assert np.shape(first["rows"][1]["largest_alpha"]) == (2,)
    assert 0 < max(first["rows"][1]["largest_alpha"]) < 20 * 1e-3 * 1.1  # Adam moves it by the learning rate a step
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    assert "2/2" in capsys.readouterr().err
