"""The stored table: the script's settings, complete rows, and losses that the code of today still gives."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.residual_theory import signal_propagation
from tests.example_scripts import load

ROOT = Path(__file__).parents[1]
STORED = ROOT / "helpers/stored/bert_initial_std_sweep.json"


@pytest.fixture(scope="module")
def sweep():
    return load("bert_initial_std_sweep")


@pytest.fixture(scope="module")
def table():
    return json.loads(STORED.read_text(encoding="utf-8"))


def trained(table):
    return [row for row in table["rows"] if "finite" in row]


def test_stored_settings_are_those_of_the_script(sweep, table):
    assert [row["settings"] for row in table["rows"]] == sweep.cells()
    assert table["pretrained"] == sweep.PRETRAINED
    assert table["snr_steps"] == list(sweep.SNR_STEPS)
    assert (table["group"], table["model"]) == (sweep.GROUP, {"width": 64, "heads": 4, "batch": 32})
    assert STORED.stat().st_size < 150_000


def test_berts_ratio_is_in_the_table(sweep):
    assert pytest.approx(0.4875380277, abs=1e-9) == sweep.BERT  # scipy.stats.truncnorm(-2, 2, scale=0.02).std() √768
    assert sum(abs(row["ratio"] - sweep.BERT) < 1e-6 for row in sweep.cells()) >= 8


def test_stored_rows_are_whole(table):
    for row in trained(table):
        settings, seeds = row["settings"], row["finite"]
        assert seeds == settings["seeds"] >= 3
        groups = settings["steps"] // table["group"]
        assert np.shape(row["loss"]) == np.shape(row["cosine"]) == (seeds, groups)
        np.testing.assert_allclose(np.mean(np.array(row["loss"])[:, -4:], axis=1), row["final"], atol=2e-3)
        assert np.abs(row["cosine"]).max() <= 1
        assert 0 < np.min(row["loss"]) < np.max(row["loss"]) < 2 * np.log(settings["vocab"])
        if settings["section"] == "warm-up":
            assert np.shape(row["snr"]) == (seeds, 4, 2 * settings["n_layers"])
        if settings["section"] == "head":
            assert np.shape(row["gains"]) == (seeds, 11, len(row["names"]))
            np.testing.assert_array_equal(np.array(row["gains"])[:, 0], 1)
    assert table["seconds"] == pytest.approx(sum(row["seconds"] for row in table["rows"]), abs=0.1)


def test_the_tower_of_bert_base_follows_the_theory(table):
    for row in table["rows"]:
        if row["settings"]["section"] == "BERT-base":
            theory = signal_propagation(12, 768, 3072, 64, row["settings"]["ratio"] / 768**0.5)
            np.testing.assert_allclose(row["identity_weight"][:7], theory["identity_weight"][:7], rtol=0.05, atol=0.01)
            np.testing.assert_allclose(row["token_correlation"], theory["token_correlation"], atol=0.1)
            np.testing.assert_allclose(row["second_moment"][1:], 1, rtol=1e-3)
            assert len(row["gradient_zero_sum"]) == 25


@pytest.mark.parametrize("section", ["warm-up", "std", "eight layers", "head", "small steps"])
def test_stored_losses_are_those_of_today(sweep, table, section):
    row = [row for row in table["rows"] if row["settings"]["section"] == section][-1]
    today = sweep.first_losses(row["settings"])
    assert len(today) == sweep.FIRST_STEPS
    np.testing.assert_allclose(row["first_losses"], today, rtol=1e-6)


def test_quick_sweep_writes_every_kind_of_row(sweep, monkeypatch, tmp_path, capsys):
    def shorter():
        return [row | ({"steps": 5, "n_layers": 1} if "steps" in row else {}) for row in quick()]

    quick = sweep.quick_cells
    monkeypatch.setattr(sweep, "quick_cells", shorter)
    out = tmp_path / "table.json"
    sweep.main(["--quick", "--out", str(out)])
    first = json.loads(out.read_text(encoding="utf-8"))
    assert [row["settings"] for row in first["rows"]] == shorter()
    assert {row["settings"]["section"] for row in first["rows"]} == {row["section"] for row in sweep.cells()}
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    assert "6/6" in capsys.readouterr().err


def test_a_run_that_ends_in_nan_is_counted(sweep, monkeypatch):
    def fails(settings, seed, model, probe=None, **others):
        raise FloatingPointError("the loss must stay finite, got nan in step 3")

    monkeypatch.setattr(sweep, "run", fails)
    monkeypatch.setattr(sweep, "first_losses", lambda settings: [])
    row = sweep.train(sweep.quick_cells()[0] | {"n_layers": 1})
    assert (row["finite"], row["loss"]) == (0, [])
