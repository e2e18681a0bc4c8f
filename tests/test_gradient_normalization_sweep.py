"""The stored tables of notebook 08: the settings of the script, whole rows, numbers that today's code still gives."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.gan import generated, train_gan
from helpers.gan_critics import SCHEMES, Critic, make_critic
from helpers.gan_evaluation import estimate_distance
from helpers.gan_networks import SeedBatchedMLP
from helpers.gan_snapshots import unpack, unpack_critic
from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS
from tests.example_scripts import load

FOLDER = Path(__file__).parents[1] / "helpers/stored"
STORED = FOLDER / "gradient_normalization_sweep.json"
SNAPSHOTS = FOLDER / "gradient_normalization_sweep_snapshots.json"
NORMALISED = ("GN", "GraN", "plain", "inner")


@pytest.fixture(scope="module")
def sweep():
    return load("gradient_normalization_sweep")


@pytest.fixture(scope="module")
def table():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def snapshots():
    return json.loads(SNAPSHOTS.read_text(encoding="utf-8"))


def rows(table, **settings):
    return [row for row in table["rows"] if settings.items() <= row["settings"].items()]


class TestTable:
    def test_settings_are_those_of_the_script(self, sweep, table, snapshots):
        assert [row["settings"] for row in table["rows"]] == sweep.cells()
        assert [row["settings"] for row in snapshots["rows"]] == sweep.snapshot_cells()
        assert STORED.stat().st_size < 150_000
        assert SNAPSHOTS.stat().st_size < 1_300_000

    def test_every_row_is_made_once_on_five_seeds_or_more(self, sweep):
        cells = sweep.cells()
        assert len({json.dumps(row) for row in cells}) == len(cells)
        assert min(row["seeds"] for row in cells) == 5
        critics = [(row["task"], row["scheme"]) for row in cells if row["section"] == "critic"]
        assert critics == [(task, scheme) for task in CRITIC_TASKS for scheme in SCHEMES if scheme != "none"]
        compared = [row for row in cells if row["section"] == "gan" and row["seeds"] == 10]
        assert {row["scheme"] for row in compared} == {"GP", "GN"}
        assert {(row["task"], row["scale"]) for row in compared} == {
            *((task, 1.0) for task in GAN_TASKS), ("8 Gaussians", 5.0),
        }  # fmt: skip

    def test_rows_of_critics_are_whole(self, sweep, table):
        """Ratio, estimate and honest share fit each other and the exact distance, to the four digits kept."""
        for row in rows(table, section="critic"):
            exact = CRITIC_TASKS[row["settings"]["task"]].wasserstein1
            estimate, ratio, norm, quotient, honest = (
                np.array(row[key]) for key in ("estimate", "ratio", "largest_norm", "largest_quotient", "honest")
            )
            np.testing.assert_allclose(ratio, estimate / exact, rtol=2e-3)
            np.testing.assert_allclose(honest, ratio / np.maximum(norm, quotient), rtol=2e-3)
            assert list(row["curve"]) == list(map(str, sweep.SHOWN_STEPS))
            assert {len(values) for values in (estimate, honest, *row["curve"].values())} == {5}
            np.testing.assert_allclose(row["curve"]["1500"], estimate, rtol=1e-3)
            assert len(row["losses"]) == 1500 // sweep.BLOCK
        for name, task in CRITIC_TASKS.items():
            assert table["exact"][name]["wasserstein1"] == pytest.approx(task.wasserstein1)

    def test_what_must_hold_of_every_critic(self, table):
        """Kantorovich and Rubinstein: nothing honest exceeds the distance; local norms of D̂ are at most 1; |GN| < 1."""
        for row in rows(table, section="critic"):
            scheme, task = row["settings"]["scheme"], CRITIC_TASKS[row["settings"]["task"]]
            assert max(row["honest"]) < 1.02  # but for the noise of 5000 points
            if scheme in NORMALISED:
                assert max(row["largest_norm"]) < 1.001
            if scheme in ("spectral norm", "orthogonal"):
                assert max(row["largest_norm"] + row["largest_quotient"]) < 1.001
            if scheme == "GN":
                assert max(row["estimate"]) < 2 * task.total_variation + 0.02

    def test_rows_of_generators_are_whole(self, sweep, table):
        for row in rows(table, section="gan"):
            settings = row["settings"]
            assert {len(row[key]) for key in ("wasserstein1", "modes", "quality")} == {settings["seeds"]}
            assert min(row["wasserstein1"]) > 0.08  # two real samples of 1000 points are not closer
            assert all(mode in range(26) for mode in row["modes"])
            hits = 1000 * np.array(row["quality"])
            assert np.abs(hits - hits.round()).max() < 1e-6
            assert len(row["losses"]) == settings["steps"] // sweep.BLOCK
        for row in rows(table, section="digits"):
            assert len(row["frechet"]) == 5
            assert min(row["frechet"]) > table["floors"]["digits"][0] / 2
            assert np.abs(unpack(row["images"], (16, 64))).max() <= 1
        for row in rows(table, section="autograd"):
            assert len(row["relative_error"]) == len(row["cosine"]) == 5
        assert table["seconds"] == pytest.approx(sum(row["seconds"] for row in table["rows"]), abs=0.1)
        assert set(table["floors"]) == {*GAN_TASKS, "digits"}

    @pytest.mark.parametrize("scheme", SCHEMES[1:])
    def test_stored_losses_of_critics_are_those_of_today(self, sweep, table, scheme):
        self.compare(sweep, rows(table, section="critic", scheme=scheme)[-2])

    @pytest.mark.parametrize(
        "settings",
        [
            {"section": "gan", "scheme": "GN"}, {"section": "gan", "loss": "logistic"}, {"section": "digits"},
            {"section": "gan", "scale": 5.0}, {"section": "autograd"},
        ],
    )  # fmt: skip
    def test_other_stored_losses_are_those_of_today(self, sweep, table, settings):
        self.compare(sweep, rows(table, **settings)[-1])

    def compare(self, sweep, row):
        today = sweep.first_losses(row["settings"])
        assert len(today) == (2 if row["settings"]["section"] == "autograd" else sweep.FIRST_STEPS)
        np.testing.assert_allclose(row["first_losses"], today, rtol=1e-6)


class TestSnapshots:
    @pytest.mark.parametrize("scheme", ["GP", *NORMALISED])
    @pytest.mark.parametrize("width", [16, 64])
    def test_critics(self, sweep, snapshots, scheme, width):
        """The first is the start of seed 0; the last, rounded to half precision, still has the stored estimate."""
        (row,) = rows(snapshots, section="critic", task="rings", scheme=scheme, width=width)
        assert list(row["parameters"]) == list(row["estimate"]) == list(map(str, sweep.SHOWN_STEPS))
        widths = [2, width, width, 1]
        start = make_critic([0], 2, scheme, hidden=[width, width])
        for a, b in zip(
            unpack_critic(row["parameters"]["0"], widths).parameters(),
            start.network.single(0).parameters(),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=2**-11, atol=1e-7)
        found = estimate_distance(
            batched(unpack_critic(row["parameters"]["1500"], widths), start), CRITIC_TASKS["rings"]
        )
        assert found[0] == pytest.approx(row["estimate"]["1500"], rel=0.2, abs=0.05)

    def test_frames_of_generators(self, sweep, snapshots):
        for row in rows(snapshots, section="gan"):
            assert row["frames"] == list(range(0, 801, 50))
            assert {len(row[key]) for key in ("samples", "directions", "wasserstein1")} == {17}
            assert all(math.isfinite(value) and value > 0 for value in row["wasserstein1"])
            for text in row["directions"]:
                lengths = np.linalg.norm(unpack(text, (256, 2)), axis=1)
                assert lengths.max() < (1.001 if row["settings"]["scheme"] in NORMALISED else 10)
            start = train_gan(GAN_TASKS["8 Gaussians"], **sweep.arguments(row["settings"], steps=0))
            found = unpack(row["samples"][0], snapshots["samples"])
            np.testing.assert_allclose(found, generated(start.generator, 256)[0], rtol=1e-3, atol=1e-5)


def batched(network, like):
    """The network of one seed as a critic of the same scheme."""
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    copy = SeedBatchedMLP([0], 2, [layer.out_features for layer in linear[:-1]], 1)
    for k, layer in enumerate(linear):
        copy.weights[k].data, copy.biases[k].data = layer.weight.T[None].clone(), layer.bias[None, None].clone()
    return Critic(copy, like.scheme, like.strength)


class TestScript:
    def test_quick_writes_every_kind_of_row(self, sweep, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(sweep, "FIRST_STEPS", 1)
        monkeypatch.setattr(sweep, "SAMPLES", 50)
        monkeypatch.setattr(sweep, "common", lambda: {"floors": {}})
        out = tmp_path / "table.json"
        sweep.main(["--quick", "--out", str(out)])
        table = json.loads(out.read_text(encoding="utf-8"))
        snapshots = json.loads((tmp_path / "table_snapshots.json").read_text(encoding="utf-8"))
        assert [row["settings"]["section"] for row in table["rows"]] == ["critic", "autograd", "gan", "digits"]
        assert [row["settings"]["section"] for row in snapshots["rows"]] == ["critic", "gan"]
        assert {path.name for path in tmp_path.iterdir()} == {"table.json", "table_snapshots.json"}
        assert all(row["settings"].get("seeds", 2) == 2 for row in table["rows"])
        assert "4/4" in capsys.readouterr().err

    def test_floors_and_exact_distances(self, sweep, table, monkeypatch):
        """Real samples drawn today are as far apart as the stored ones; the exact numbers are those in use."""
        name = "swiss roll"
        assert sweep.floor(GAN_TASKS[name], 1) == pytest.approx(table["floors"][name][1], rel=1e-3)
        monkeypatch.setattr(sweep, "floor", lambda task, seed: len(task.name) + seed / 10)
        again = json.loads(json.dumps(sweep.common()))
        assert again["floors"][name] == [10.0, 10.1, 10.2, 10.3, 10.4]
        assert again["floors"]["digits"] == pytest.approx(table["floors"]["digits"], rel=0.1)  # a trained classifier
        assert again["exact"] == table["exact"]

    def test_arguments(self, sweep):
        one = next(row for row in sweep.critic_cells() if row.get("dtype"))
        assert (one["task"], one["scheme"]) == ("shift 1", "inner")
        given = sweep.arguments(one, steps=3)
        assert given["dtype"] is torch.float64
        assert given["steps"] == 3
        assert given["seeds"] == range(5)
        assert not {"section", "task"} & set(given)
        given = sweep.arguments(sweep.snapshot_cells()[0])
        assert given["hidden"] == [16, 16]
        assert given["seeds"] == range(1)
        assert not {"width", "dtype"} & set(given)

    def test_numbers_that_are_not_finite_are_stored_as_none(self, sweep):
        assert sweep.rounded([0.123456, math.nan, math.inf]) == [0.1235, None, None]
        losses = torch.arange(110.0)[:, None] + torch.tensor([0.0, 2.0])
        assert sweep.blocks(losses) == [25.5, 75.5]
