"""The stored table: the script's settings, complete rows, and losses that the code of today still gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from helpers.contrastive_evaluation import digits_split
from tests.example_scripts import load

ROOT = Path(__file__).parents[1]
STORED = ROOT / "helpers/stored/contrastive_sweep.json"


@pytest.fixture(scope="module")
def sweep():
    return load("contrastive_sweep")


@pytest.fixture(scope="module")
def table():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data():
    return digits_split(*load_digits(return_X_y=True))


def test_stored_settings_are_those_of_the_script(sweep, table):
    assert [row["settings"] for row in table["rows"]] == sweep.cells()
    assert table["metric"] == sweep.METRIC
    assert table["quantiles"] == list(sweep.QUANTILES)
    assert STORED.stat().st_size < 150_000


def test_every_row_trains_the_seeds_and_samples_it_says(sweep):
    rows = sweep.cells()
    assert len({json.dumps(row) for row in rows}) == len(rows)
    assert {row["steps"] * row["batch_size"] for row in rows if row["section"] == "same samples"} == {24_000}
    assert {row["steps"] for row in rows if row["section"] == "same steps"} == {1500}
    assert min(row["seeds"] for row in rows) >= 5


def test_stored_rows_are_whole(table):
    for row in table["rows"]:
        for values in (row["knn"], row["probe"]):
            assert len(values) == row["settings"]["seeds"]
            assert 0.1 < min(values) <= max(values) < 1
            hits = 2000 * np.array(values)
            assert np.abs(hits - hits.round()).max() < 1e-6  # of 4 x 500 test images
        assert row["log10_xi"] == sorted(row["log10_xi"])
        assert len(row["log10_xi"]) == len(table["quantiles"])
        assert (row["below_2^-24"] > 0) <= (row["log10_xi"][0] < -24 * np.log10(2))
    assert table["seconds"] == pytest.approx(sum(row["seconds"] for row in table["rows"]), abs=0.1)


def test_xi_stays_within_what_the_scores_allow(table):
    """Cosines are in -1..1: |log xi| is at most 2/tau, plus the logarithm of the number of negatives."""
    for row in table["rows"]:
        settings = row["settings"]
        candidates = settings["negatives"] or 2 * settings["batch_size"] - 2
        bound = 2 / settings["temperature"] / np.log(10)
        assert -bound - 0.01 <= row["log10_xi"][0]
        assert row["log10_xi"][-1] <= bound + np.log10(candidates) + 0.01


@pytest.mark.parametrize("section", ["same steps", "same samples", "saturated", "few negatives", "paired", "SGD"])
def test_stored_losses_are_those_of_today(sweep, table, data, section):
    row = [row for row in table["rows"] if row["settings"]["section"] == section][-1]
    today = sweep.first_losses(row["settings"], data[0])
    assert len(today) == sweep.FIRST_STEPS
    np.testing.assert_allclose(row["first_losses"], today, rtol=1e-6)


def test_split_is_stratified_and_in_range(data):
    images, labels, test_images, test_labels = data
    assert images.shape == (1297, 64)
    assert test_images.shape == (500, 64)
    assert (images.min().item(), images.max().item()) == (0, 1)
    share = np.bincount(labels) / 1297 - np.bincount(test_labels) / 500
    assert np.abs(share).max() < 2e-3


def test_arguments_are_those_of_training(sweep):
    import torch

    given = sweep.arguments(sweep.cells()[0] | {"score_dtype": "bfloat16"})
    assert given["dtype"] is torch.float32
    assert given["score_dtype"] is torch.bfloat16
    assert given["seeds"] == range(10)
    assert "section" not in given
    assert sweep.arguments(sweep.cells()[0])["score_dtype"] is None


def test_quick_sweep_writes_every_kind_of_row(sweep, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sweep, "baselines", lambda data: {})  # its own test is below
    out = tmp_path / "table.json"
    sweep.main(["--quick", "--out", str(out)])
    first = json.loads(out.read_text(encoding="utf-8"))
    assert [row["settings"] for row in first["rows"]] == sweep.quick_cells()
    assert {row["settings"]["section"] for row in first["rows"]} == {row["section"] for row in sweep.cells()}
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    assert "8/8" in capsys.readouterr().err


def test_baselines_are_reproduced(sweep, table, data):
    """Raw pixels need no training: the same numbers but for images that lie between two answers."""
    again = sweep.baselines((*data[:3], data[3]))
    for name, seeds in (("raw pixels", 1), ("untrained", 10)):
        for measure, values in again[name].items():
            assert len(values) == seeds
            np.testing.assert_allclose(values, table["baselines"][name][measure], atol=0.005)
