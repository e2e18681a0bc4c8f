"""The pre-training scripts on a hand-written corpus: they learn, go on after a break, and ship what they trained."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers import tiny_bert as tb
from helpers.lab.stored import Stored
from tests.example_scripts import ROOT, load

GAMES = ["Jump over the holes.", "Shoot the aliens.", "Win the next level.", "Two players share a keyboard."]
FONTS = ["The letters have serifs.", "It covers Greek and Latin.", "The glyphs are bold.", "Use it for long texts."]
CONFIG = tb.TinyBertConfig(100, 8, 1, 2, 16, 64)


def written(section, part, sentences, first):
    synopses = ["a small one", "another", "the big one", "old and new"]
    return {
        "part": part, "section": section, "source": f"{section}{first}", "package": f"{section}{first}",
        "synopsis": f"{section} {synopses[first]}", "sentences": sentences[first:] + sentences[:first],
    }  # fmt: skip


CORPUS = {
    part: [
        written(section, part, sentences, first)
        for first in numbers
        for section, sentences in (("games", GAMES), ("fonts", FONTS))
    ]
    for part, numbers in {"train": (0, 1, 2, 3), "dev": (1, 3), "test": (2,)}.items()
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    found = load("pretrain_nsp")
    monkeypatch.setattr(found, "VALIDATION", 10)
    return found


@pytest.fixture
def table_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    return load("nsp_pretraining")


@pytest.fixture
def tokenizer(script):
    return script.train_tokenizer([" ".join([d["synopsis"], *d["sentences"]]) for d in CORPUS["train"]], 100)


@pytest.fixture
def corpus_file(tmp_path):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(document) + "\n" for part in CORPUS.values() for document in part))
    return file


def settings(script, **others):
    return script.SETTINGS | script.QUICK | {"steps": 40, "batch": 4, "max_length": 24} | others


class TestRun:
    def test_a_break_changes_nothing(self, script, tokenizer, tmp_path, monkeypatch):
        monkeypatch.setattr(script, "SNAPSHOTS", (0, 10))
        own = settings(script, steps=22)
        whole = script.Run(tmp_path / "whole", CORPUS, tokenizer, own, CONFIG)
        log = whole.train()
        for stop in (0, 7, 18, None):  # within the first pool of batches, in the second, to the end
            part = script.Run(tmp_path / "parts", CORPUS, tokenizer, own, CONFIG)
            parts = part.train(stop)
        for name, weight in whole.model.state_dict().items():
            torch.testing.assert_close(part.model.state_dict()[name], weight, atol=0, rtol=0)
        assert [point["step"] for point in parts["curve"]] == [0, 10, 22]
        for before, after in zip(log["curve"], parts["curve"], strict=True):
            for name in ("pair_accuracy", "random_pair_accuracy", "mlm_loss"):
                assert before[name] == after[name]
        assert script.Run(tmp_path / "whole", CORPUS, tokenizer, own, CONFIG).train() == log  # finished: nothing to do
        with pytest.raises(SystemExit, match="holds a run with other settings"):
            script.Run(tmp_path / "whole", CORPUS, tokenizer, own | {"lr": 1.0}, CONFIG)

    def test_it_learns(self, script, tokenizer, tmp_path):
        own = settings(script, lr=1e-2, batch=16)
        run = script.Run(tmp_path / "run", CORPUS, tokenizer, own, CONFIG)
        log = run.train()
        losses = np.array(run.losses)
        assert losses.shape == (40, 2)
        assert losses[:2, 1].mean() > losses[-10:, 1].mean() + 0.4
        assert log["curve"][-1]["mlm_loss"] < log["curve"][0]["mlm_loss"] - 0.2
        assert log["curve"][-1]["train_pair_loss"] == pytest.approx(losses[:, 0].mean(), abs=1e-4)
        assert log["seconds"] > 0
        assert json.loads((tmp_path / "run/log.json").read_text()) == log

    def test_the_last_snapshot_is_the_model(self, script, tokenizer, tmp_path):
        run = script.Run(tmp_path / "run", CORPUS, tokenizer, settings(script, steps=3), CONFIG)
        run.train()
        back = tb.from_hf_state_dict(load_file(tmp_path / "run/step-000003.safetensors"), 2)
        for name, weight in run.model.state_dict().items():
            torch.testing.assert_close(back.state_dict()[name], weight, atol=1e-3, rtol=1e-3)

    @pytest.mark.parametrize("objective", ["sop", "same_section"])
    def test_objectives_differ_in_their_own_pairs_alone(self, script, tokenizer, tmp_path, objective):
        runs = [
            script.Run(tmp_path / name, CORPUS, tokenizer, settings(script, objective=name), CONFIG)
            for name in ("nsp", objective)
        ]
        first, other = (run.held_out for run in runs)
        assert first[0] == first[1] == other[1] != other[0]
        torch.testing.assert_close(runs[0].model.state_dict(), runs[1].model.state_dict(), atol=0, rtol=0)

    def test_seeds_differ(self, script, tokenizer, tmp_path):
        runs = [script.Run(tmp_path / str(s), CORPUS, tokenizer, settings(script, seed=s), CONFIG) for s in (0, 1)]
        assert not torch.equal(runs[0].model.pooler.weight, runs[1].model.pooler.weight)
        drawn = [script.batches(run.sampler, 0, run.settings, 100)[0].input_ids for run in runs]
        assert drawn[0].shape != drawn[1].shape or not torch.equal(*drawn)
        assert runs[0].held_out == runs[1].held_out


def test_learning_rate(script):
    rates = [script.learning_rate(step, {"lr": 2.0, "warmup": 4, "steps": 12}) for step in range(12)]
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_batches_are_the_pool_sorted_by_length(script, tokenizer, tmp_path):
    run = script.Run(tmp_path / "run", CORPUS, tokenizer, settings(script), CONFIG)
    pool = script.batches(run.sampler, 3, run.settings, 100)
    assert len(pool) == script.POOL
    lengths = sorted([sorted(batch.attention_mask.sum(dim=1).tolist()) for batch in pool])
    assert all(len(batch) == 4 for batch in lengths)
    assert [length for batch in lengths for length in batch] == sorted(length for batch in lengths for length in batch)
    assert sum(int((batch.targets >= 0).sum()) for batch in pool) > 10


def test_encoded_documents_start_with_their_synopsis(script, tokenizer):
    documents = script.encoded(tokenizer, CORPUS["dev"])
    assert [len(document) for document in documents] == [5] * 4
    words = [tokenizer.id_to_token(token).removeprefix("##") for token in documents[0][0]]
    assert "".join(words) == "gamesanother"
    long = [{"synopsis": "a", "sentences": ["aliens " * 80]}]
    assert [len(text) for text in script.encoded(tokenizer, long)[0]] == [1, 64]


def test_command_line(script, corpus_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "TinyBertConfig", lambda *sizes: CONFIG)
    runs = tmp_path / "runs"
    script.main([str(corpus_file), "--runs", str(runs), "--quick", "--steps", "2", "--objective", "sop", "--seed", "5"])
    output = capsys.readouterr()
    assert output.out.startswith("2 steps in ")
    assert "sop-5" in output.err
    log = json.loads((runs / "sop-5/log.json").read_text())
    assert (log["settings"]["steps"], log["settings"]["objective"], log["settings"]["seed"]) == (2, "sop", 5)
    assert len(log["settings"]["corpus"]) == 64
    with pytest.raises(SystemExit, match="has 100 tokens, not 99"):
        script.load_tokenizer(runs / "tokenizer.json", CORPUS, 99)


class TestTable:
    def test_table_and_shipped_folder(self, table_script, corpus_file, tmp_path, monkeypatch, capsys):
        one = table_script.one
        monkeypatch.setattr(one, "VALIDATION", 10)
        monkeypatch.setattr(table_script, "TinyBertConfig", lambda: CONFIG)
        monkeypatch.setattr(table_script, "first_losses", list)
        rows = [row | {"steps": 2, "batch": 4} for row in table_script.cells()[:3]]
        monkeypatch.setattr(table_script, "cells", lambda: rows)
        runs, out, folder = str(tmp_path / "runs"), tmp_path / "table.json", tmp_path / "shipped"
        table_script.main([str(corpus_file), "--runs", runs, "--out", str(out)])
        table = json.loads(out.read_text())
        assert [row["settings"] for row in table["rows"]] == rows
        assert [[point["step"] for point in row["curve"]] for row in table["rows"]] == [[0, 2]] * 3
        assert table["corpus"]["documents"] == {"train": 8, "dev": 4, "test": 2}
        assert table["corpus"]["sentences"] == 56
        table_script.main([str(corpus_file), "--runs", runs, "--ship", str(folder)])
        model, tokenizer = tb.load_tiny_bert(folder)
        last = load_file(tmp_path / "runs/main/nsp-0/step-000002.safetensors")
        torch.testing.assert_close(
            tb.to_hf_state_dict(model)["bert.pooler.dense.bias"], last["bert.pooler.dense.bias"].float()
        )
        assert tokenizer.get_vocab_size() == 100
        stated = json.loads((folder / "config.json").read_text())
        assert stated["training"]["step"] == 2
        assert stated["corpus"] == table["corpus"]

    def test_stored_settings_are_those_of_the_script(self, table_script):
        table = Stored("nsp_pretraining")
        assert [row["settings"] for row in table.rows] == table_script.cells()
        for row in table.rows:
            assert row["curve"][0]["step"] == 0
            assert row["curve"][-1]["step"] == row["settings"]["steps"]
            assert row["curve"][0]["pair_accuracy"] == pytest.approx(0.5, abs=0.05)
        assert table.common["model"]["parameters"] == sum(w.numel() for w in tb.TinyBert().parameters())
        assert table.common["seconds"] == pytest.approx(sum(row["seconds"] for row in table.rows), abs=0.1)

    def test_the_shipped_model_is_the_end_of_the_main_run(self):
        row = Stored("nsp_pretraining").row(section="main")
        stated = json.loads((tb.SHIPPED / "config.json").read_text(encoding="utf-8"))
        assert {name: stated["training"][name] for name in row["curve"][-1]} == row["curve"][-1]
        assert stated["corpus"] == Stored("nsp_pretraining").common["corpus"]
        card = (tb.SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
        for number in (row["settings"]["steps"], stated["corpus"]["documents"]["train"], stated["corpus"]["sentences"]):
            assert f"{number:,}" in card
        assert f"{row['curve'][-1]['pair_accuracy']:.3f}" in card
        assert stated["corpus"]["sha256"] in card

    def test_stored_losses_are_those_of_today(self, table_script):
        stored = Stored("nsp_pretraining").common["first_losses"]
        np.testing.assert_allclose(table_script.first_losses(), stored, rtol=2e-3)
