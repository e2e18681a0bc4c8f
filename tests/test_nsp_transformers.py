"""Checkpoints of transformers on disk: the same logits as TinyBert, and what must not load."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.nsp_encoding import encode_pairs, text_report
from helpers.nsp_scoring import mlm_label_scores, nsp_scores, occlusion
from helpers.nsp_transformers import TransformersBert, load_nsp_model
from helpers.tiny_bert import load_tiny_bert, to_hf_state_dict
from tests.small_bert import CONFIG, WORDS, small_model, small_tokenizer

transformers = pytest.importorskip("transformers")
SIZES = {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__}
TEXTS, PROMPTS = ["kill all the alien", "mail fastly . read", "a game"], ["a font program", "game"]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def save(folder: Path, kind: type, **sizes) -> Path:
    """A checkpoint with the weights of the small model, as far as `kind` has them, and its tokenizer."""
    peer = kind(transformers.BertConfig(**SIZES | sizes))
    state = to_hf_state_dict(small_model())
    own = peer.state_dict()
    prefix = "" if any(key.startswith("bert.") for key in own) else "bert."
    peer.load_state_dict({key: state.get(prefix + key, value) for key, value in own.items()})
    peer.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(tmp_path_factory.mktemp("whole"), transformers.BertForPreTraining)


@pytest.fixture(scope="module")
def loaded(saved):
    return load_nsp_model(saved)


def test_scores_of_a_saved_checkpoint_are_those_of_the_model(loaded):
    ours = small_model(), small_tokenizer()
    for order in ("prefix", "suffix"):
        due = nsp_scores(*ours, TEXTS, PROMPTS, order)
        np.testing.assert_allclose(nsp_scores(*loaded, TEXTS, PROMPTS, order), due, atol=1e-5)
        due = mlm_label_scores(*ours, TEXTS, ["game", "font"], "a {}", order)
        found = mlm_label_scores(*loaded, TEXTS, ["game", "font"], "a {}", order)
        np.testing.assert_allclose(found, due, atol=2e-5)
    tokens, delta = occlusion(*loaded, TEXTS[1], "game")
    due = occlusion(*ours, TEXTS[1], "game")
    assert tokens == due[0] == ["mail", "fast", "##ly", ".", "read"]
    np.testing.assert_allclose(delta, due[1], atol=1e-5)
    assert text_report(loaded[1], TEXTS[1], PROMPTS) == text_report(ours[1], TEXTS[1], PROMPTS)
    assert loaded[0].config.max_position_embeddings == 24
    np.testing.assert_array_equal(loaded[0].words.weight.detach(), ours[0].words.weight.detach())
    assert not loaded[0].training
    assert not loaded[0].model.training


def test_pairs_are_encoded_as_transformers_does(loaded):
    """Oracle: the tokenizer's own post-processor, with token types, padding and truncation of the longer."""
    a, b = ["a game", "kill all the alien " * 5, "font"], ["fastly", "mail " * 4, "game " * 30]
    due = loaded[1](a, b, padding=True, truncation="longest_first", max_length=24, return_tensors="pt")
    found = encode_pairs(loaded[1], a, b, 24)
    for name in found:
        assert found[name].tolist() == due[name].tolist()


def test_a_next_sentence_checkpoint_has_no_masked_language_head(tmp_path, loaded):
    model, tokenizer = load_nsp_model(str(save(tmp_path, transformers.BertForNextSentencePrediction)))
    due = nsp_scores(*loaded, TEXTS, PROMPTS)
    np.testing.assert_array_equal(nsp_scores(model, tokenizer, TEXTS, PROMPTS), due)
    with pytest.raises(ValueError, match=r"^model must have a masked-language head, the checkpoint holds no cls\.pred"):
        mlm_label_scores(model, tokenizer, TEXTS, ["game"])


@pytest.mark.parametrize(("kind", "pooler"), [("BertModel", False), ("BertForMaskedLM", True)])
def test_a_checkpoint_without_the_head_is_refused(tmp_path, kind, pooler):
    save(tmp_path, getattr(transformers, kind))
    lacks = "bert.pooler.dense.bias, bert.pooler.dense.weight, " if pooler else ""
    said = f"name_or_path must hold an NSP head, {str(tmp_path)!r} lacks {lacks}"
    said += "cls.seq_relationship.bias, cls.seq_relationship.weight"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        load_nsp_model(tmp_path)


def test_a_checkpoint_without_part_of_its_encoder_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    save(tmp_path, transformers.BertForPreTraining)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    del state["bert.encoder.layer.1.output.dense.bias"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks bert\.encoder\.layer\.1\.output\.dense\.bias$"):
        load_nsp_model(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path):
    transformers.RobertaConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"^name_or_path must be a BERT, got '.*' of type 'roberta': it has no NSP head$"
    ):
        load_nsp_model(tmp_path)


@pytest.mark.parametrize("name", ["./none", "/no/such", "~/no/such/folder", "a/b/c", Path("none")])
def test_no_such_folder(name):
    with pytest.raises(FileNotFoundError) as caught:
        load_nsp_model(name)
    rule = "an existing folder or the name of a model on the hub"
    assert str(caught.value) == f"name_or_path must be {rule}, got {str(name)!r}"


def test_the_hub_out_of_reach():
    with pytest.raises(OSError, match=r"connect|offline"):
        load_nsp_model("bert-base-uncased", local_files_only=True)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"^load_nsp_model needs transformers: pip install transformers$"):
        load_nsp_model("bert-base-uncased")


def test_the_shipped_weights_in_transformers():
    model, tokenizer = load_tiny_bert()
    sizes = {name: getattr(model.config, name) for name in CONFIG.__dataclass_fields__}
    peer = transformers.BertForNextSentencePrediction(transformers.BertConfig(**sizes)).eval()
    state = to_hf_state_dict(model)
    peer.load_state_dict({key: state[key] for key in peer.state_dict()})
    texts = ["Shoot all the aliens before they land.", "Reads and sends mail from the terminal.", "Outline font."]
    prompts = ["game", "mail", "this is a font program"]
    batch = encode_pairs(tokenizer, [p for _ in texts for p in prompts], [t for t in texts for _ in prompts])
    with torch.no_grad():
        due = peer(**batch).logits
    found = nsp_scores(model, tokenizer, texts, prompts, return_logits=True).reshape(-1, 2)
    np.testing.assert_allclose(found, due, atol=1e-5)


def test_the_adapter_has_the_methods_of_the_model():
    ours = small_model()
    peer = transformers.BertForPreTraining(transformers.BertConfig(**SIZES)).train()
    peer.load_state_dict(to_hf_state_dict(ours))
    model = TransformersBert(peer)
    batch = encode_pairs(small_tokenizer(), TEXTS, ["game"] * 3)
    with torch.no_grad():
        h = model(**batch)
        np.testing.assert_allclose(h[0], ours(**batch)[0], atol=1e-5)
        np.testing.assert_allclose(model.nsp_logits(h), ours.nsp_logits(ours(**batch)), atol=1e-5)
        np.testing.assert_array_equal(model.pair_logits(**batch), model.nsp_logits(h))
        np.testing.assert_allclose(model.mlm_logits(h[:, 1]), ours.mlm_logits(ours(**batch)[:, 1]), atol=2e-5)
    for name in ("token_type_ids", "attention_mask"):  # both matter, neither is left to a default
        other = (
            batch | {name: 1 - batch[name]}
            if name == "token_type_ids"
            else batch | {name: torch.ones_like(batch[name])}
        )
        with torch.no_grad():
            assert (model(**other) - h).abs().max() > 1e-3
