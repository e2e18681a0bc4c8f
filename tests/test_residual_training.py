"""The small masked language model: its data, its parts, its training, and the noise of its gradients."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.residual import (
    AlphaSchedule,
    MaskedLanguageModel,
    PermutationChain,
    gradient_snr,
    layer_norm_gains,
    linear_warmup,
    mask_tokens,
    train_mlm,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(placement: str = "post", head: bool = True, seed: int = 0, **tower) -> MaskedLanguageModel:
    return MaskedLanguageModel(6, 8, 1, 16, 2, 32, placement, 0.1, head, generator=seeded(seed), **tower)


# --- data -----------------------------------------------------------------------------------------


def test_chain_follows_its_permutation_but_for_the_noise():
    chain = PermutationChain(8, 0.3, seed=1)
    assert sorted(chain.permutation) == list(range(8))
    x = chain.sample(500, 40, np.random.default_rng(0))
    assert x.shape == (500, 40)
    assert x.dtype == np.int64
    follows = (x[:, 1:] == chain.permutation[x[:, :-1]]).mean()
    assert follows == pytest.approx(0.7 + 0.3 / 8, abs=0.01)  # the noise hits the right token once in 8
    assert np.bincount(x.ravel(), minlength=8) / x.size == pytest.approx(1 / 8, abs=0.01)
    assert np.bincount(x[:, 0], minlength=8) / 500 == pytest.approx(1 / 8, abs=0.06)
    np.testing.assert_array_equal(x, chain.sample(500, 40, np.random.default_rng(0)))
    silent = PermutationChain(8, 0.0, seed=1).sample(9, 9, np.random.default_rng(0))
    assert (silent[:, 1:] == chain.permutation[silent[:, :-1]]).all()
    pure = PermutationChain(8, 1.0).sample(500, 40, np.random.default_rng(0))
    assert (pure[:, 1:] == chain.permutation[pure[:, :-1]]).mean() == pytest.approx(1 / 8, abs=0.01)
    assert PermutationChain(8).noise == 0.1
    np.testing.assert_array_equal(PermutationChain(8).permutation, PermutationChain(8, seed=0).permutation)
    assert (PermutationChain(50, seed=1).permutation != PermutationChain(50, seed=2).permutation).any()
    assert PermutationChain(2).sample(1, 1, np.random.default_rng(0)).shape == (1, 1)


def test_masks():
    x = np.random.default_rng(0).integers(0, 9, (400, 10))
    inputs, mask, targets = mask_tokens(x, 0.15, 9, np.random.default_rng(1))
    np.testing.assert_array_equal(targets, x)
    np.testing.assert_array_equal(inputs, np.where(mask, 9, x))
    drawn = np.random.default_rng(1).random(x.shape) < 0.15
    bare = ~drawn.any(axis=1)
    assert 0.1 < bare.mean() < 0.3  # 0.85^10 = 0.2
    np.testing.assert_array_equal(mask[~bare], drawn[~bare])
    np.testing.assert_array_equal(mask[bare], np.eye(1, 10, dtype=bool).repeat(bare.sum(), axis=0))
    assert targets.dtype == inputs.dtype == np.int64
    assert mask_tokens(x.astype(np.uint8), 0.5, 300, np.random.default_rng(1))[0].max() == 300


# --- model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [True, False])
def test_model_is_the_sum_of_its_parts(head):
    model = small(head=head, dtype=torch.float64)
    inputs = np.array([[0, 6, 5], [1, 2, 3]])
    x = model.tokens.weight[inputs] + model.positions.weight[:3]
    h = model.tower(F.layer_norm(x, (16,)))
    np.testing.assert_allclose(model.hidden(inputs).detach(), h.detach(), rtol=1e-12)
    if head:
        h = F.layer_norm(F.gelu(model.head_dense(h)), (16,))
    logits = h @ model.tokens.weight[:6].T + model.bias
    np.testing.assert_allclose(model(inputs).detach(), logits.detach(), rtol=1e-10, atol=1e-12)
    mask, targets = np.array([[True, True, False], [False, False, True]]), np.array([[4, 1, 0], [0, 0, 2]])
    rows = torch.log_softmax(logits, dim=-1).detach()
    expected = -float(rows[0, 0, 4] + rows[0, 1, 1] + rows[1, 2, 2]) / 3
    assert model.loss(inputs, mask, targets).item() == pytest.approx(expected, rel=1e-12)


def test_parts_of_the_model():
    model = small()
    assert model.tokens.weight.shape == (7, 16)  # one more for the mask
    assert model.positions.weight.shape == (8, 16)
    assert model.bias.tolist() == [0] * 6
    assert len(model.tower.blocks) == 2
    assert list(layer_norm_gains(model)) == [
        "tower.blocks.0.norm",
        "tower.blocks.1.norm",
        "embedding_norm",
        "head_norm",
    ]
    assert set(layer_norm_gains(model).values()) == {1.0}
    assert "head_norm" not in layer_norm_gains(small(head=False))
    assert small(head=False).head_dense is None
    assert not model.head_dense.bias.detach().any()
    with torch.no_grad():
        model.tower.blocks[0].norm.weight.copy_(torch.arange(16.0))
    assert layer_norm_gains(model)["tower.blocks.0.norm"] == 7.5
    assert layer_norm_gains(nn.Sequential(nn.LayerNorm(3, elementwise_affine=False), nn.RMSNorm(2))) == {"1": 1.0}
    assert {weight.dtype for weight in small(dtype=torch.float64).parameters()} == {torch.float64}
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.tower.blocks[1].branch.first.weight.shape == (32, 16)
    plain = MaskedLanguageModel(6, 8, 1, 16, 2, 24, "pre", 0.1, generator=seeded())
    assert plain.tower.placement == "pre"
    assert plain.tower.blocks[1].branch.first.weight.shape == (24, 16)
    assert plain.head_norm is not None
    assert torch.equal(plain(np.array([[1, 6]], dtype=np.int16)), plain([[1, 6]]))


def test_all_weights_of_the_model_have_the_deviation_asked_for():
    model = MaskedLanguageModel(500, 400, 1, 64, 2, None, "pre", 0.02, generator=seeded())
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05), name
            assert float(weight.detach().abs().max()) <= 0.02 * 2 * 1.1368473, name
    assert model.tower.blocks[1].branch.first.weight.shape == (256, 64)
    whole = MaskedLanguageModel(500, 4, 1, 64, 2, None, "pre", 0.02, generator=seeded(), truncated=False)
    assert float(whole.tokens.weight.detach().abs().max()) > 0.06
    state = torch.random.get_rng_state()
    again = MaskedLanguageModel(500, 400, 1, 64, 2, None, "pre", 0.02, generator=seeded())
    assert torch.equal(torch.random.get_rng_state(), state)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_initial_logits_have_the_deviation_of_the_embeddings():
    """|h|² = d and rows of std σ: logits of std √d σ, and a loss of log V up to σ²d/2. The head changes neither."""
    rng = np.random.default_rng(0)
    batch = mask_tokens(rng.integers(0, 400, (16, 16)), 0.5, 400, rng)
    for head in (True, False):
        model = MaskedLanguageModel(400, 16, 1, 64, 2, 128, "post", 0.06, head, generator=seeded())
        assert float(model(batch[0]).detach().std()) == pytest.approx(8 * 0.06, rel=0.05)
        assert model.loss(*batch).item() == pytest.approx(math.log(400) + (8 * 0.06) ** 2 / 2, abs=0.12)


# --- training -------------------------------------------------------------------------------------


def test_training_learns_and_repeats():
    chain = PermutationChain(6, 0.0)
    runs = []
    for _ in range(2):
        model = MaskedLanguageModel(6, 8, 1, 16, 2, 32, "pre", 0.2, generator=seeded())
        runs.append(train_mlm(model, chain, 60, 1e-2, 5))
    np.testing.assert_array_equal(runs[0]["loss"], runs[1]["loss"])
    loss = runs[0]["loss"]
    assert loss.shape == (60,)
    assert loss[0] == pytest.approx(math.log(6), abs=0.4)
    assert loss[-10:].mean() < 0.75 * loss[:10].mean()
    assert runs[0]["trace"] == {"step": []}


def test_training_is_what_it_says():
    """Oracle: the same steps written out, with the same batches and torch's own warm-up."""
    chain, model, twin = PermutationChain(6, 0.2), small(), small()
    result = train_mlm(
        model,
        chain,
        6,
        1e-2,
        3,
        batch=5,
        length=7,
        mask_rate=0.4,
        seed=3,
        optimizer=lambda m: torch.optim.SGD(m.parameters(), 0.5),
    )
    rng = np.random.default_rng(3)
    sgd = torch.optim.SGD(twin.parameters(), 0.5)
    warmup = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: min(1, (step + 1) / 3))
    losses = []
    for _ in range(6):
        loss = twin.loss(*mask_tokens(chain.sample(5, 7, rng), 0.4, 6, rng))
        losses.append(loss.item())
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        warmup.step()
    np.testing.assert_allclose(result["loss"], losses, rtol=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-7)
    other = train_mlm(small(), chain, 1, 1e-2, seed=4)
    assert other["loss"][0] != train_mlm(small(), chain, 1, 1e-2)["loss"][0]
    assert train_mlm(small(), chain, 1, 1e-2, seed=0)["loss"][0] == train_mlm(small(), chain, 1, 1e-2)["loss"][0]


def test_defaults_of_training():
    """Adam with the given rate, sequences of 8 in batches of 32 with 15 % masks."""
    chain, model, twin = PermutationChain(6), small(), small()
    rng = np.random.default_rng(0)
    batch = mask_tokens(chain.sample(32, 8, rng), 0.15, 6, rng)
    assert train_mlm(model, chain, 1, 2e-3)["loss"][0] == pytest.approx(twin.loss(*batch).item(), rel=1e-6)
    adam = torch.optim.Adam(twin.parameters(), 2e-3)
    twin.loss(*batch).backward()
    adam.step()
    moved = [float((a - b).detach().abs().max()) for a, b in zip(model.parameters(), twin.parameters(), strict=True)]
    assert max(moved) < 1e-4
    assert (
        max(float((a - b).detach().abs().max()) for a, b in zip(model.parameters(), small().parameters(), strict=True))
        > 1.9e-3
    )


def test_probe_and_rates_of_groups():
    chain, seen, model = PermutationChain(6), [], small()

    def two_groups(model: MaskedLanguageModel) -> torch.optim.Optimizer:
        rest = [weight for name, weight in model.named_parameters() if name != "bias"]
        optimizer = torch.optim.SGD([{"params": rest, "lr": 0.1}, {"params": [model.bias], "lr": 0.4}])
        optimizer.register_step_pre_hook(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
        return optimizer

    def probe(model: MaskedLanguageModel, step: int) -> dict[str, float] | None:
        model.tower.set_alpha(AlphaSchedule(4)(step))
        return (
            {"alpha": model.tower.blocks[0].alpha, "bias": float(model.bias.detach().abs().max())}
            if step % 2 == 0
            else None
        )

    steps: list[int] = []
    progress = lambda iterable: (steps.append(step) or step for step in iterable)  # noqa: E731
    result = train_mlm(model, chain, 5, 1e-3, 4, optimizer=two_groups, probe=probe, progress=progress)
    assert result["trace"]["step"] == [0, 2, 4]
    assert result["trace"]["alpha"] == [0, 0.5, 1]
    assert result["trace"]["bias"][0] == 0  # before the first step
    assert result["trace"]["bias"][1] > 0
    assert steps == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        seen, [[linear_warmup(s, 4, 0.1), linear_warmup(s, 4, 0.4)] for s in range(5)], rtol=1e-12
    )
    assert train_mlm(small(), chain, 0, 1e-3)["loss"].shape == (0,)


def test_a_loss_that_is_not_finite_stops_training():
    model = small()

    def spoil(model: MaskedLanguageModel, step: int) -> None:
        if step == 2:
            with torch.no_grad():
                model.bias[0] = math.nan

    with pytest.raises(FloatingPointError, match=r"^the loss must stay finite, got nan in step 2$"):
        train_mlm(model, PermutationChain(6), 5, 1e-3, probe=spoil)


# --- noise ----------------------------------------------------------------------------------------


def test_snr_by_hand():
    model = small(dtype=torch.float64)
    rng = np.random.default_rng(0)
    batches = [mask_tokens(rng.integers(0, 6, (4, 8)), 0.3, 6, rng) for _ in range(5)]
    expected = []
    for block in model.tower.blocks:
        rows = []
        for batch in batches:
            model.zero_grad()
            model.loss(*batch).backward()
            rows.append(np.concatenate([weight.grad.numpy().ravel().copy() for weight in block.parameters()]))
        rows = np.array(rows)
        noise = rows.var(axis=0, ddof=1).sum()
        signal = (rows.mean(axis=0) ** 2).sum() - noise / 5
        expected.append(math.sqrt(max(0, signal) / noise))
    np.testing.assert_allclose(gradient_snr(model, iter(batches)), expected, rtol=1e-9)
    assert min(expected) > 0


def test_snr_of_pure_noise_is_small_and_of_a_repeated_batch_infinite():
    """Random targets: the mean gradient is noise but for the bias of the counts."""
    model = small(head=False)
    with torch.no_grad():
        model.tokens.weight[:6] -= model.tokens.weight[:6].mean(dim=0)
    rng = np.random.default_rng(0)
    same = mask_tokens(rng.integers(0, 6, (4, 8)), 0.3, 6, rng)
    assert gradient_snr(model, [same, same]).min() > 1e3
    model.tower.blocks[0].branch.query.weight.requires_grad_(False)  # frozen weights do not count
    assert gradient_snr(model, [same, same]).shape == (2,)
