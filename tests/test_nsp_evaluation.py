"""The stored evaluation: settings of the script, weights as shipped, whole rows, scores as today."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import nsp
from helpers.lab.stored import Stored
from helpers.nsp_documents import FIELDS, held_out, section_labels
from tests.example_scripts import load

ROOT = Path(__file__).parents[1]
SUBSETS = {"D4": 4, "D8": 8, "D12": 12}


@pytest.fixture(scope="module")
def script():
    return load("nsp_evaluation")


@pytest.fixture(scope="module")
def table():
    return Stored("nsp_evaluation")


@pytest.fixture(scope="module")
def shipped():
    return nsp.load_tiny_bert()


def test_stored_settings_are_those_of_the_script_and_the_shipped_weights(script, table, shipped):
    mark = {"weights": script.fingerprint(shipped[0])}
    due = [row if row.get("method") in script.MODEL_FREE else row | mark for row in script.cells()]
    stored = [row["settings"] for row in table.rows]
    assert stored[: len(due)] == due
    rest = stored[len(due) :]
    assert {row["section"] for row in rest} == {"steps"}
    assert {(row["objective"], row["seed"]) for row in rest if row["run"] == "ablation"} == {
        (objective, seed) for objective in ("nsp", "sop", "same_section") for seed in (0, 1, 2)
    }
    assert (ROOT / "helpers/stored/nsp_evaluation.json").stat().st_size < 400_000


def test_rows_are_consistent(table):
    for row in table.select(section="accuracy"):
        texts = table.common["texts"][row["settings"]["labels"]]
        assert row["n"] == texts
        assert 0 < row["hard n"] < texts
        low, high = row["ci"]
        assert low <= row["accuracy"] <= high
        hits = row["plain"] * texts * (10 if row["settings"].get("shots") else 1)
        assert abs(hits - round(hits)) < 0.001 * hits + 0.1
    for labels, n in SUBSETS.items():
        majority = table.row(section="accuracy", labels=labels, method="majority")
        assert majority["accuracy"] == pytest.approx(1 / n, abs=1e-4)
    for row in table.select(section="difference"):
        of, minus = (table.row(section="accuracy", labels=row["settings"]["labels"], **row["settings"][side])
                     for side in ("of", "minus"))  # fmt: skip
        assert row["difference"] == pytest.approx(of["accuracy"] - minus["accuracy"], abs=2e-4)
        assert row["ci"][0] <= row["difference"] <= row["ci"][1]
    for row in table.select(section="pairs"):
        follows = np.array(row["follows"])
        right = (np.array(row["scores"]) > 0) == follows
        assert right.mean() == pytest.approx(row["threshold 0"], abs=0.1)  # 400 of 2,000
        assert row["gain"] == pytest.approx(row["known share"] - row["threshold 0"], abs=1e-3)


@pytest.mark.parametrize(("template", "order"), [("{}", "prefix"), ("this is about {}", "suffix")])
def test_stored_scores_are_those_of_today(table, shipped, template, order):
    row = table.row(section="scores", template=template, order=order)
    test, labels = held_out("test"), list(section_labels(8).values())
    kept = row["documents"][::20]
    texts = [" ".join(test[k]["sentences"]) for k in kept]
    assert [test[k]["section"] for k in kept] == list(section_labels(8))
    found = nsp.nsp_scores(*shipped, texts, nsp.fill_template(template, labels), order, too_long="cut")
    np.testing.assert_allclose(np.array(row["scores"])[::20], found, atol=0.0051)
    bias = nsp.content_free_bias(*shipped, nsp.fill_template(template, labels), order)
    np.testing.assert_allclose(row["empty"], bias, atol=1e-3)


def test_quick_evaluation_writes_every_kind_of_row(script, tmp_path, capsys):
    """On the shipped documents: half of the dev ones stand for training."""
    documents = [dict(d, part="train" if d["part"] == "dev" and k % 2 else d["part"]) for k, d in
                 enumerate(held_out("dev") + held_out("test"))]  # fmt: skip
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "table.json"
    corpus.write_text("\n".join(json.dumps({f: d[f] for f in FIELDS}) for d in documents), encoding="utf-8")
    script.main([str(corpus), "--quick", "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [{k: v for k, v in row["settings"].items() if k != "weights"} for row in rows] == script.quick_cells()
    assert {row["section"] for row in script.quick_cells()} == {row["section"] for row in script.cells()}
    assert "rows" in capsys.readouterr().err


def test_snapshots_are_found_and_the_last_is_marked(script, tmp_path):
    for name in ("nsp-0", "sop-1"):
        (tmp_path / name).mkdir()
        for step in (0, 200, 1000):
            (tmp_path / name / f"step-{step:06d}.safetensors").touch()
    found = script.checkpoints([tmp_path])
    assert [(row["objective"], row["seed"], row["step"], row["last"]) for row in found] == [
        ("nsp", 0, 0, False), ("nsp", 0, 200, False), ("nsp", 0, 1000, True),
        ("sop", 1, 0, False), ("sop", 1, 200, False), ("sop", 1, 1000, True),
    ]  # fmt: skip
    assert {row["run"] for row in found} == {tmp_path.name}


def test_a_snapshot_is_judged_like_the_model(script, tmp_path, shipped):
    """The same weights as a snapshot and as the model: the accuracies agree where the texts do."""
    documents = held_out("dev") + held_out("test")
    documents = [dict(d, part="train" if d["part"] == "dev" and k % 2 else d["part"]) for k, d in enumerate(documents)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps({f: d[f] for f in FIELDS}) for d in documents), encoding="utf-8")
    evaluation = script.Evaluation(corpus, *shipped, quick=True)
    judge = evaluation.of(shipped[0], 100, 8)
    assert judge.labels == list(section_labels(8).values())
    for calibration in ("none", "mean"):
        method = script.MAIN | {"calibration": calibration}
        assert judge.accuracy("D8", **method) == evaluation.accuracy("D8", **method)
    assert len(evaluation.of(shipped[0], 3, 12).texts) == 36
