"""TinyBert against transformers' BERT as an independent oracle, and the loader of the shipped weights."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForNextSentencePrediction, BertForPreTraining

from helpers import tiny_bert as tb

SMALL = tb.TinyBertConfig(30, 12, 2, 3, 20, 10)


def random_model(config=SMALL, seed=0, spread=0.5):
    """Weights so large, biases and norms so unlike their start, that every part of the network matters."""
    model = tb.TinyBert(config, torch.Generator().manual_seed(seed)).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(spread * torch.randn(weight.shape, generator=generator))
    return model


def random_batch(config=SMALL, rows=4, seed=0):
    rng = np.random.default_rng(seed)
    length = config.max_position_embeddings
    ids = rng.integers(5, config.vocab_size, (rows, length))
    used = rng.integers(5, length + 1, rows)
    used[0] = length
    mask = (np.arange(length) < used[:, None]).astype(int)
    types = (np.arange(length) >= used[:, None] // 2).astype(int) * mask
    return [torch.from_numpy(array) for array in (ids * mask, types, mask)]


def peer(model, kind):
    """The same weights in transformers, without dropout."""
    sizes = vars(model.config)
    oracle = kind(BertConfig(**sizes, hidden_dropout_prob=0, attention_probs_dropout_prob=0)).eval()
    state = tb.to_hf_state_dict(model)
    if kind is BertForNextSentencePrediction:
        state = {name: weight for name, weight in state.items() if "predictions" not in name}
    oracle.load_state_dict(state)  # strict: every name and shape
    return oracle


@pytest.fixture(scope="module")
def shipped():
    return tb.load_tiny_bert()


@pytest.fixture
def copied(tmp_path):
    for name in ("config.json", tb.WEIGHTS, tb.TOKENIZER):
        shutil.copy(tb.SHIPPED / name, tmp_path)
    return tmp_path


class TestAgainstTransformers:
    @pytest.mark.parametrize(
        "config", [SMALL, tb.TinyBertConfig(11, 8, 3, 1, 5, 7), tb.TinyBertConfig(9, 4, 1, 4, 6, 6)]
    )
    def test_all_outputs_are_those_of_bert_for_pre_training(self, config):
        model = random_model(config)
        ids, types, mask = random_batch(config)
        oracle = peer(model, BertForPreTraining)
        with torch.no_grad():
            h, found = model(ids, types, mask), oracle(ids, mask, types, output_hidden_states=True)
            here = mask.bool()
            torch.testing.assert_close(h[here], found.hidden_states[-1][here], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(model.embed(ids, types), found.hidden_states[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(model.nsp_logits(h), found.seq_relationship_logits, atol=1e-5, rtol=1e-5)
            logits = found.prediction_logits
            torch.testing.assert_close(model.mlm_logits(h)[here], logits[here], atol=1e-4, rtol=1e-5)

    def test_shipped_weights_give_the_logits_of_bert_for_next_sentence_prediction(self, shipped):
        ids, types, mask = random_batch(shipped[0].config, rows=8)
        oracle = peer(shipped[0], BertForNextSentencePrediction)
        with torch.no_grad():
            expected = oracle(ids, mask, types).logits
            torch.testing.assert_close(shipped[0].pair_logits(ids, types, mask), expected, atol=1e-5, rtol=0)
            assert expected.abs().max() > 0.1

    def test_a_checkpoint_of_transformers_comes_back(self, tmp_path):
        oracle, generator = BertForPreTraining(BertConfig(**vars(SMALL))).eval(), torch.Generator().manual_seed(2)
        with torch.no_grad():
            for weight in oracle.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
        oracle.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        state["bert.embeddings.position_ids"] = torch.arange(10)[None]  # as in checkpoints of older versions
        model = tb.from_hf_state_dict(state, 3)
        assert model.config == SMALL
        ids, types, mask = random_batch()
        with torch.no_grad():
            expected = oracle(ids, mask, types).seq_relationship_logits
            torch.testing.assert_close(model.pair_logits(ids, types, mask), expected, atol=1e-6, rtol=1e-5)


class TestModel:
    def test_pair_logits_are_those_of_the_whole_forward_pass(self):
        model, batch = random_model(), random_batch(rows=7)
        with torch.no_grad():
            found, whole = model.pair_logits(*batch), model.nsp_logits(model(*batch))
        torch.testing.assert_close(found, whole, atol=1e-6, rtol=1e-6)

    def test_padding_changes_nothing_and_all_else_does(self):
        model = random_model()
        ids, types, mask = random_batch(rows=2)
        with torch.no_grad():
            start = model.pair_logits(ids, types, mask)
            hidden = torch.where(mask.bool(), ids, 7)
            torch.testing.assert_close(model.pair_logits(hidden, types, mask), start, atol=0, rtol=0)
            short = int(mask[1].sum())
            alone = model.pair_logits(*(tensor[1:, :short] for tensor in (ids, types, mask)))
            torch.testing.assert_close(alone, start[1:], atol=1e-5, rtol=1e-5)
            for others in ((ids, 0 * types, mask), (ids, types, 0 * mask + 1), (ids.flip(1), types, mask)):
                assert (model.pair_logits(*others) - start).abs().max() > 1e-2

    def test_weights_are_drawn_from_the_generator(self):
        first, again, other = (tb.TinyBert(SMALL, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        assert torch.equal(first.pooler.weight, again.pooler.weight)
        assert not torch.equal(first.pooler.weight, other.pooler.weight)
        assert torch.equal(tb.TinyBert(SMALL).words.weight, first.words.weight)
        big = tb.TinyBert()
        for table in (big.words, big.layers[0].up, big.layers[1].query, big.mlm_dense):
            assert table.weight.std().item() == pytest.approx(0.08, rel=0.02)
        for name, weight in big.named_parameters():
            if name.endswith("bias"):
                assert not weight.any()
            elif "norm" in name:
                assert (weight == 1).all()

    def test_default_sizes_are_those_of_the_shipped_model(self, shipped):
        model, tokenizer = shipped
        assert model.config == tb.TinyBertConfig()
        assert sum(weight.numel() for weight in model.parameters()) == 1_212_786
        assert tokenizer.get_vocab_size() == 6000

    def test_bad_inputs_are_refused(self):
        model = tb.TinyBert(SMALL)
        ids = torch.zeros(2, 5, dtype=torch.int64)
        for call in (model, model.pair_logits):
            with pytest.raises(ValueError, match=r"^input_ids must have shape \[B, 1 <= L <= 10\], got \(2, 11\)$"):
                call(*[torch.zeros(2, 11, dtype=torch.int64)] * 3)
            with pytest.raises(ValueError, match=r"^input_ids must .* got \(5,\)$"):
                call(*[ids[0]] * 3)
            with pytest.raises(ValueError, match=r"^input_ids must .* got \(2, 0\)$"):
                call(*[ids[:, :0]] * 3)
            with pytest.raises(
                ValueError, match=r"^token_type_ids must have the shape of input_ids, \(2, 5\), got \(1, 5\)"
            ):
                call(ids, ids[:1], ids)
            with pytest.raises(
                ValueError, match=r"^attention_mask must have the shape of input_ids, \(2, 5\), got \(2, 4\)"
            ):
                call(ids, ids, ids[:, :4])
        assert model.pair_logits(*[torch.ones(1, 1, dtype=torch.int64)] * 3).shape == (1, 2)
        assert model(*[torch.ones(1, 10, dtype=torch.int64)] * 3).shape == (1, 10, 12)

    @pytest.mark.parametrize("name", list(vars(SMALL)))
    def test_bad_sizes_are_refused(self, name):
        with pytest.raises(ValueError, match=rf"^{name} must be an integer >= 1, got 0$"):
            tb.TinyBertConfig(**{name: 0})
        if name == "num_attention_heads":
            with pytest.raises(
                ValueError, match=r"^num_attention_heads must divide hidden_size, got .*hidden_size=128"
            ):
                tb.TinyBertConfig(**{name: 3})


class TestStateDict:
    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_round_trip(self, layers):
        model = random_model(tb.TinyBertConfig(30, 12, layers, 3, 20, 10))
        back = tb.from_hf_state_dict({name: value.double() for name, value in tb.to_hf_state_dict(model).items()}, 3)
        assert back.config == model.config
        assert not back.training
        for name, weight in back.state_dict().items():
            assert weight.dtype == torch.float32
            torch.testing.assert_close(weight, model.state_dict()[name], atol=0, rtol=0)

    def test_missing_weights_are_named(self):
        whole = tb.to_hf_state_dict(random_model())
        state = {name: weight for name, weight in whole.items() if "seq_relationship" not in name}
        with pytest.raises(
            ValueError, match=r"2 missing: \['cls.seq_relationship.weight', 'cls.seq_relationship.bias'\]"
        ):
            tb.from_hf_state_dict(state, 3)
        with pytest.raises(
            ValueError, match=r"^state must hold all weights .*, 30 missing: \['cls.predictions.bias', 'bert.embeddings"
        ):
            tb.from_hf_state_dict({"cls.predictions.decoder.bias": whole["cls.predictions.decoder.bias"]}, 2)

    def test_wrong_shapes_and_heads_are_named(self):
        state = tb.to_hf_state_dict(random_model())
        name = "bert.encoder.layer.1.output.dense.weight"
        with pytest.raises(ValueError, match=rf"^{name} must have shape \(12, 20\), got \(20, 12\)$"):
            tb.from_hf_state_dict(state | {name: state[name].T}, 3)
        with pytest.raises(ValueError, match="num_attention_heads must divide hidden_size"):
            tb.from_hf_state_dict(state, 5)


class TestShipped:
    def test_files_are_small_and_the_weights_half_precision(self, shipped):
        assert (tb.SHIPPED / tb.WEIGHTS).stat().st_size <= 5_000_000
        assert sum(file.stat().st_size for file in tb.SHIPPED.iterdir()) <= 6_000_000
        stored = load_file(tb.SHIPPED / tb.WEIGHTS)
        assert {weight.dtype for weight in stored.values()} == {torch.float16}
        assert not shipped[0].training
        assert {weight.dtype for weight in shipped[0].parameters()} == {torch.float32}

    def test_the_tokeniser_reads_as_bert_does(self, shipped):
        tokenizer = shipped[1]
        assert [tokenizer.id_to_token(number) for number in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pair = tokenizer.encode("A GAME", "thé music")
        assert pair.tokens == ["[CLS]", "a", "game", "[SEP]", "the", "music", "[SEP]"]
        assert pair.type_ids == [0, 0, 0, 0, 1, 1, 1]
        assert tokenizer.encode("game", add_special_tokens=False).tokens == ["game"]
        assert tokenizer.encode("游戏", add_special_tokens=False).tokens == ["[UNK]", "[UNK]"]

    def test_another_folder_of_the_same_layout(self, copied, shipped):
        model, tokenizer = tb.load_tiny_bert(copied)
        torch.testing.assert_close(model.state_dict(), shipped[0].state_dict(), atol=0, rtol=0)
        assert tokenizer.get_vocab() == shipped[1].get_vocab()
        tb.load_tiny_bert(str(copied))

    @pytest.mark.parametrize("name", [tb.WEIGHTS, tb.TOKENIZER])
    def test_a_changed_file_is_refused(self, copied, name):
        data = bytearray((copied / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copied / name).write_bytes(data)
        checksum = json.loads((copied / "config.json").read_text(encoding="utf-8"))["sha256"][name]
        expected = rf"{name} must have the SHA-256 of config.json, {checksum}, got [0-9a-f]{{64}}$"
        with pytest.raises(ValueError, match=expected):
            tb.load_tiny_bert(copied)

    @pytest.mark.parametrize("name", ["config.json", tb.WEIGHTS, tb.TOKENIZER])
    def test_a_missing_file_is_named(self, copied, name):
        (copied / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"^no such file of a TinyBert: .*{name}$"):
            tb.load_tiny_bert(copied)
