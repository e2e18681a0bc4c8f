"""Pairs, masks, losses and the warm start of pre-training, against brute force, transformers and NumPy's SVD."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import BertConfig, BertForPreTraining

from helpers import nsp_pretraining as pre
from helpers.tiny_bert import TinyBert, TinyBertConfig, to_hf_state_dict

# Four documents; the tens of a token are its document, and no sentence occurs twice.
DOCUMENTS = [
    [[10, 11], [12], [13, 14, 15]],
    [[20], [21, 22]],
    [[30], [31], [32], [33]],
    [[40, 41], [42, 43]],
]
SECTIONS = ["a", "b", "a", "b"]
CONFIG = TinyBertConfig(60, 8, 1, 2, 16, 64)


def rng(seed=0):
    return np.random.default_rng(seed)


def spans(document):
    """Every way to cut two adjacent spans out of a document."""
    n = len(document)
    return {
        (tuple(chain(*document[i:j])), tuple(chain(*document[j:k])))
        for i in range(n)
        for j in range(i + 1, n)
        for k in range(j + 1, n + 1)
    }


ADJACENT = [spans(document) for document in DOCUMENTS]


def drawn(objective, n=2000, sections=SECTIONS, documents=DOCUMENTS):
    pairs = pre.PairSampler(documents, objective, sections).draw(n, rng())
    return [[(tuple(p.a), tuple(p.b)) for p in pairs if p.label == label] for label in (0, 1)]


class TestPairs:
    @pytest.mark.parametrize("objective", pre.OBJECTIVES)
    def test_half_are_adjacent_spans_and_all_of_them_occur(self, objective):
        positive, negative = drawn(objective)
        assert len(positive) / (len(positive) + len(negative)) == pytest.approx(
            0.5, abs=0.045
        )  # four standard deviations
        assert set(positive) == set.union(*ADJACENT)

    def test_documents_count_alike_and_half_of_the_segments_are_one_sentence(self):
        positive = drawn("nsp")[0]
        shares = Counter(a[0] // 10 for a, _ in positive)
        assert all(count / len(positive) == pytest.approx(0.25, abs=0.055) for count in shares.values())
        # document 3 is cut behind sentence 1, 2 or 3; one sentence is certain for the first, 1/2 + 1/4, 1/2 + 1/6
        third = [a for a, _ in positive if a[0] // 10 == 3]
        assert sum(len(a) == 1 for a in third) / len(third) == pytest.approx((1 + 3 / 4 + 2 / 3) / 3, abs=0.1)

    def test_negatives_of_nsp_are_the_product_of_the_marginals_over_other_documents(self):
        positive, negative = drawn("nsp", 8000)
        assert all(a[0] // 10 != b[0] // 10 for a, b in negative)
        for side in (0, 1):  # so neither segment alone tells the class
            before, after = (Counter(pair[side] for pair in pairs) for pairs in (positive, negative))
            assert set(before) == set(after)
            for segment in before:
                assert before[segment] / len(positive) == pytest.approx(after[segment] / len(negative), abs=0.02)
        crossed = Counter((a[0] // 10, b[0] // 10) for a, b in negative)
        assert len(crossed) == 12
        assert all(count / len(negative) == pytest.approx(1 / 12, abs=0.02) for count in crossed.values())

    def test_negatives_of_sop_are_swapped_pairs(self):
        positive, negative = drawn("sop")
        assert {(b, a) for a, b in negative} == set(positive)

    def test_negatives_of_the_same_section_are_from_another_document_of_it(self):
        negative = drawn("same_section")[1]
        assert {(a[0] // 10, b[0] // 10) for a, b in negative} == {(1, 3), (3, 1), (2, 4), (4, 2)}

    def test_a_document_alone_in_its_section_is_left_out(self):
        for pairs in drawn("same_section", 300, ["a", "b", "a", "c"]):
            assert {a[0] // 10 for a, _ in pairs} == {1, 3}

    def test_sections_count_by_their_documents(self):
        documents = [*DOCUMENTS, [[50], [51]]]
        positive = drawn("same_section", 2000, ["a", "b", "a", "b", "a"], documents)[0]
        share = np.mean([a[0] // 10 in (1, 3, 5) for a, _ in positive])
        assert share == pytest.approx(0.6, abs=0.06)

    def test_pairs_fit(self):
        long = [[[5] * 40, [6] * 50], [[7] * 3, [8] * 90]]
        for pair in pre.PairSampler(long, "nsp", max_length=32).draw(50, rng()):
            assert len(pair.a) + len(pair.b) <= 29
            assert min(len(pair.a), len(pair.b)) >= 3
        assert pre.PairSampler(long, max_length=5).draw(1, rng())
        assert max(len(pair.a) + len(pair.b) for pair in pre.PairSampler(long).draw(50, rng())) == 61

    def test_the_generator_alone_decides(self):
        sampler = pre.PairSampler(DOCUMENTS)
        assert sampler.draw(9, rng(3)) == sampler.draw(9, rng(3)) != sampler.draw(9, rng(4))
        assert sampler.draw(0, rng()) == []

    def test_truncation_takes_from_the_longer_segment(self):
        for left in range(9):
            for right in range(9):
                for room in range(2, 18):
                    a, b = list(range(left)), list(range(right))
                    while len(a) + len(b) > room:  # brute force: one token at a time
                        (a if len(a) > len(b) else b).pop()
                    assert pre.truncated(range(left), range(right), room) == (a, b)

    def test_bad_inputs_are_refused(self):
        with pytest.raises(ValueError, match=r"^objective must be one of \('nsp', 'sop', 'same_section'\), got 'mlm'"):
            pre.PairSampler(DOCUMENTS, "mlm")
        with pytest.raises(ValueError, match=r"^documents must be at least 2 of at least 2 sentences each, got 1$"):
            pre.PairSampler(DOCUMENTS[:1])
        with pytest.raises(ValueError, match=r"^documents must"):
            pre.PairSampler([[[1]], [[2], [3]]])
        for sections in (None, ["a"] * 3):
            with pytest.raises(ValueError, match=r"^sections must name the section of each document"):
                pre.PairSampler(DOCUMENTS, "same_section", sections)
        with pytest.raises(ValueError, match=r"^sections must hold at least one with two documents, got none"):
            pre.PairSampler(DOCUMENTS, "same_section", list("abcd"))
        with pytest.raises(ValueError, match=r"^max_length must be an integer >= 5, got 4"):
            pre.PairSampler(DOCUMENTS, max_length=4)
        with pytest.raises(ValueError, match=r"^n must be an integer >= 0, got -1"):
            pre.PairSampler(DOCUMENTS).draw(-1, rng())


class TestBatch:
    def test_collate_writes_what_the_tokenizers_library_writes(self):
        words = [*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *(f"w{n}" for n in range(5, 50))]
        tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        tokenizer.enable_padding(pad_id=0)
        pairs = pre.PairSampler(DOCUMENTS).draw(6, rng())
        text = [tuple(" ".join(f"w{token}" for token in side) for side in (p.a, p.b)) for p in pairs]
        batch, expected = pre.collate(pairs), tokenizer.encode_batch(text)
        assert batch.input_ids.tolist() == [one.ids for one in expected]
        assert batch.token_type_ids.tolist() == [one.type_ids for one in expected]
        assert batch.attention_mask.tolist() == [one.attention_mask for one in expected]
        assert batch.labels.tolist() == [pair.label for pair in pairs]
        assert (batch.targets == pre.IGNORED).all()
        assert {tensor.dtype for tensor in batch} == {torch.int64}

    def test_masking_keeps_its_shares(self):
        start = pre.collate([pre.Pair([7] * 30, [8] * 30, 0)] * 200)
        batch = pre.masked(start, rng(), 50)
        words = start.input_ids >= 5
        chosen = batch.targets != pre.IGNORED
        assert not (chosen & ~words).any()
        assert torch.equal(batch.targets[chosen], start.input_ids[chosen])
        assert torch.equal(batch.input_ids[~chosen], start.input_ids[~chosen])
        assert chosen.sum() / words.sum() == pytest.approx(0.15, abs=0.012)  # four standard deviations
        seen, was = batch.input_ids[chosen], start.input_ids[chosen]
        assert (seen == pre.MASK).float().mean() == pytest.approx(0.8, abs=0.04)
        other = (seen != pre.MASK) & (seen != was)
        assert other.float().mean() == pytest.approx(0.1 * 44 / 45, abs=0.03)
        assert seen[other].min() == 5
        assert seen[other].max() == 49
        for name in ("token_type_ids", "attention_mask", "labels"):
            assert torch.equal(getattr(batch, name), getattr(start, name))

    def test_extreme_rates(self):
        start = pre.collate([pre.Pair([7], [8, 9], 0)])
        assert torch.equal(pre.masked(start, rng(), 50, 0).input_ids, start.input_ids)
        assert (pre.masked(start, rng(), 6, 1.0).targets != pre.IGNORED).sum() == 3

    def test_bad_inputs_are_refused(self):
        with pytest.raises(ValueError, match=r"^pairs must hold at least one pair, got none"):
            pre.collate([])
        batch = pre.collate([pre.Pair([7], [8], 0)])
        for rate in (-0.1, 1.1):
            with pytest.raises(ValueError, match=rf"^rate must be in \[0, 1\], got {rate}"):
                pre.masked(batch, rng(), 50, rate)
        with pytest.raises(ValueError, match=r"^vocab_size must be an integer >= 6, got 5"):
            pre.masked(batch, rng(), 5)


@pytest.fixture
def model():
    return TinyBert(CONFIG, torch.Generator().manual_seed(1))


@pytest.fixture
def batch():
    return pre.masked(pre.collate(pre.PairSampler(DOCUMENTS).draw(12, rng())), rng(1), 60)


class TestLosses:
    def test_their_sum_is_the_loss_of_bert_for_pre_training(self, model, batch):
        oracle = BertForPreTraining(BertConfig(**vars(CONFIG))).eval()
        oracle.load_state_dict(to_hf_state_dict(model))
        found = oracle(*batch[:1], batch.attention_mask, batch.token_type_ids, labels=batch.targets,
                       next_sentence_label=batch.labels)  # fmt: skip
        pair, token = pre.pretraining_losses(model, batch)
        torch.testing.assert_close(pair + token, found.loss)
        expected = F.cross_entropy(found.seq_relationship_logits, batch.labels)
        torch.testing.assert_close(pair, expected)

    def test_no_masked_token_is_no_loss(self, model, batch):
        pair, token = pre.pretraining_losses(model, batch._replace(targets=batch.targets * 0 + pre.IGNORED))
        assert token == 0
        (pair + token).backward()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())

    @pytest.mark.parametrize("batch_size", [1, 4, 100])
    def test_accuracy_is_that_of_one_pair_at_a_time(self, model, batch_size):
        pairs = pre.PairSampler(DOCUMENTS).draw(40, rng(2))
        with torch.no_grad():
            z = torch.cat([model.pair_logits(*pre.collate([pair])[:3]) for pair in pairs])
            margins = (z[:, 1] - z[:, 0]).sort().values[10:31]
            widest = margins.diff().argmax()  # far from a tie, with pairs on either side
            model.nsp_head.bias[0] += margins[widest : widest + 2].mean()
            single = [model.pair_logits(*pre.collate([pair])[:3])[0].argmax().item() for pair in pairs]
        assert 10 <= sum(single) <= 30
        expected = np.mean([guess == pair.label for guess, pair in zip(single, pairs, strict=True)])
        assert pre.pair_accuracy(model, pairs, batch_size) == pytest.approx(expected, abs=1e-12)

    def test_a_tie_is_is_next(self, model):
        with torch.no_grad():
            model.nsp_head.weight.zero_()
        pairs = [pre.Pair([7], [8], 0)] * 3 + [pre.Pair([7], [8], 1)]
        assert pre.pair_accuracy(model, pairs) == 0.75

    def test_bad_inputs_are_refused(self, model):
        with pytest.raises(ValueError, match=r"^pairs must hold at least one pair"):
            pre.pair_accuracy(model, [])
        with pytest.raises(ValueError, match=r"^batch_size must be an integer >= 1, got 0"):
            pre.pair_accuracy(model, [pre.Pair([7], [8], 0)], 0)


class TestWarmStart:
    def test_embeddings_are_the_right_singular_vectors_of_tf_idf(self):
        generator = rng(5)
        documents = [[list(generator.integers(5, 15, 6)), list(generator.integers(5, 15, 4))] for _ in range(30)]
        counts = np.zeros((30, 20))
        for row, document in enumerate(documents):
            np.add.at(counts[row], list(chain(*document)), 1)
        present = counts.sum(axis=0) > 0
        tf = np.log(np.where(counts > 0, counts, 1)) + (counts > 0)
        tfidf = tf * (np.log(31 / (1 + (counts > 0).sum(axis=0))) + 1)
        tfidf /= np.linalg.norm(tfidf, axis=1, keepdims=True)
        _, s, vt = np.linalg.svd(tfidf)
        gram = (vt[:3].T * s[:3] ** 2) @ vt[:3]  # signs of singular vectors are free, products of rows are not
        norms = np.sqrt(np.diag(gram))[present]
        rows = pre.lsa_embeddings(documents, 20, 3, seed=1).double().numpy()
        assert not rows[~present].any()
        np.testing.assert_allclose(
            rows[present] @ rows[present].T, gram[np.ix_(present, present)] / np.outer(norms, norms), atol=1e-5
        )

    def test_only_known_words_and_the_keys_change(self, model):
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        embeddings = torch.zeros(60, 8)
        embeddings[7, 0], embeddings[9, 1] = 1.0, -1.0
        pre.warm_start(model, embeddings)
        after = model.state_dict()
        assert torch.equal(after["words.weight"][[7, 9]], embeddings[[7, 9]])
        rest = [row for row in range(60) if row not in (7, 9)]
        assert torch.equal(after["words.weight"][rest], before["words.weight"][rest])
        assert torch.equal(after["layers.0.key.weight"], before["layers.0.query.weight"])
        for name in ("positions.weight", "types.weight"):
            torch.testing.assert_close(after[name], before[name] / 4)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"words.weight", "positions.weight", "types.weight", "layers.0.key.weight"}
        assert all(weight.requires_grad for weight in model.parameters())

    def test_bad_inputs_are_refused(self, model):
        with pytest.raises(ValueError, match=r"^embeddings must have shape \(60, 8\), got \(60, 7\)$"):
            pre.warm_start(model, torch.zeros(60, 7))
        for vocab, width in ((43, 2), (3, 4)):
            with pytest.raises(ValueError, match=rf"^vocab_size must exceed the largest token 43 .* got {vocab}$"):
                pre.lsa_embeddings(DOCUMENTS, vocab, width)
        with pytest.raises(ValueError, match=r"^documents must number at least width, 5, got 4$"):
            pre.lsa_embeddings(DOCUMENTS, 60, 5)
        with pytest.raises(ValueError, match=r"^width must be an integer >= 1, got 0"):
            pre.lsa_embeddings(DOCUMENTS, 60, 0)
