"""The tower against torch.nn.TransformerEncoderLayer, against exact theory and against mean-field theory."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from helpers.residual import (
    ResidualTower,
    equivalent_rates,
    layer_norm_gains,
    residual_moments,
    residual_scales,
    signal_propagation,
    token_cosine,
    trace_signal,
)
from helpers.residual_tower import Attention, FeedForward, fill_


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def zero_sum(c: torch.Tensor) -> torch.Tensor:
    return c - c.mean(dim=1, keepdim=True)


# --- the same function as torch's layer -----------------------------------------------------------


@pytest.mark.parametrize("placement", ["post", "pre"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_two_branches_are_a_layer_of_torch(placement, activation):
    options = {"activation": activation, "norm_first": placement == "pre", "batch_first": True, "dropout": 0.0}
    layer = nn.TransformerEncoderLayer(12, 3, 20, dtype=torch.float64, **options)
    tower = ResidualTower(
        2, 12, placement, n_heads=3, d_ff=20, activation=activation, generator=seeded(), dtype=torch.float64
    )
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(randn(*weight.shape, seed=weight.numel()))
    attention, feed_forward = (block.branch for block in tower.blocks)
    stacked = zip(layer.self_attn.in_proj_weight.chunk(3), layer.self_attn.in_proj_bias.chunk(3), strict=True)
    with torch.no_grad():
        for ours, (weight, bias) in zip((attention.query, attention.key, attention.value), stacked, strict=True):
            ours.weight.copy_(weight)
            ours.bias.copy_(bias)
    attention.output.load_state_dict(layer.self_attn.out_proj.state_dict())
    feed_forward.first.load_state_dict(layer.linear1.state_dict())
    feed_forward.second.load_state_dict(layer.linear2.state_dict())
    for block, norm in zip(tower.blocks, (layer.norm1, layer.norm2), strict=True):
        block.norm.load_state_dict(norm.state_dict())
    x = randn(2, 5, 12)
    expected = layer(x)
    np.testing.assert_allclose(tower.stream(x)[-1].detach(), expected.detach(), rtol=1e-10, atol=1e-11)
    final = nn.functional.layer_norm(expected, (12,)) if placement == "pre" else expected
    np.testing.assert_allclose(tower(x).detach(), final.detach(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("norm", "kind"), [("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_what_a_tower_is_made_of(norm, kind):
    tower = ResidualTower(3, 8, "pre", norm=norm, n_heads=2, generator=seeded())
    assert [type(block.branch) for block in tower.blocks] == [Attention, FeedForward, Attention]
    assert type(tower.final_norm) is kind
    assert all(type(block.norm) is kind and block.norm.eps == 1e-5 for block in tower.blocks)
    assert tower.blocks[1].branch.first.weight.shape == (32, 8)
    biases = [weight.detach() for name, weight in tower.named_parameters() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)
    assert {weight.dtype for weight in tower.parameters()} == {torch.float32}
    assert len(list(layer_norm_gains(tower))) == 4
    for placement in ("none", "rezero", "fixup"):
        bare = ResidualTower(2, 8, placement, generator=seeded())
        assert layer_norm_gains(bare) == {}
        assert torch.equal(bare(torch.ones(1, 2, 8)), bare.stream(torch.ones(1, 2, 8))[-1])
    assert len(ResidualTower(0, 8).blocks) == 0
    assert ResidualTower(1, 8, generator=seeded()).blocks[0].branch.n_heads == 1
    linear = ResidualTower(2, 8, "none", "linear", generator=seeded()).blocks[0].branch
    assert type(linear) is nn.Linear
    assert linear.bias is None
    kinds = [type(b.branch) for b in ResidualTower(2, 8, branch="feed_forward", generator=seeded()).blocks]
    assert kinds == [FeedForward, FeedForward]
    assert type(ResidualTower(1, 8, branch="attention", generator=seeded()).blocks[0].branch) is Attention


def weights(placement: str = "none", branch: str = "transformer", **options) -> dict[str, torch.Tensor]:
    tower = ResidualTower(2, 16, placement, branch, n_heads=4, generator=seeded(), dtype=torch.float64, **options)
    return {name: value.detach() for name, value in tower.named_parameters() if name.endswith("weight")}


def factors(ours: dict[str, torch.Tensor], plain: dict[str, torch.Tensor]) -> dict[str, float]:
    """Quotients of weights drawn from the same seed."""
    names = [name for name in ours if "norm" not in name]
    return {name.split(".")[-2]: round(float((ours[name] / plain[name]).mean()), 12) for name in names}


def test_standard_deviations_of_the_placements_and_of_attention():
    plain = weights()
    same = dict.fromkeys(("query", "key", "value", "output", "first", "second"), 1)
    for placement in ("post", "pre", "rezero"):
        assert factors(weights(placement), plain) == same
    beta = round((4 * 2) ** -0.25, 12)
    deep = factors(weights("deepnorm"), plain)
    assert deep == same | dict.fromkeys(("value", "output", "first", "second"), beta)
    assert factors(weights(attention="unscaled"), plain) == same
    assert factors(weights(attention="t5"), plain) == same | {"query": 0.5}  # d_head = 4
    half = round(4**-0.25, 12)
    assert factors(weights(attention="split"), plain) == same | {"query": half, "key": half}
    assert factors(weights(init_std=0.5), plain) == dict.fromkeys(same, 2)  # the default is 1/√16
    linear = weights("deepnorm", "linear")
    assert factors(linear, weights("none", "linear")) == {"branch": pytest.approx(beta**2, abs=1e-11)}
    assert float(weights("fixup", "linear")["blocks.0.branch.weight"].abs().max()) == 0
    silent = weights("fixup")
    assert float(silent["blocks.0.branch.output.weight"].abs().max()) == 0
    assert float(silent["blocks.1.branch.second.weight"].abs().max()) == 0
    assert torch.equal(silent["blocks.0.branch.value.weight"], plain["blocks.0.branch.value.weight"])
    assert torch.equal(silent["blocks.1.branch.first.weight"][:3, :3], silent["blocks.1.branch.first.weight"][:3, :3])


def test_scale_of_the_logits():
    for attention, scale in (("scaled", 0.5), ("unscaled", 1.0), ("t5", 1.0), ("split", 1.0)):
        branch = ResidualTower(1, 16, "none", n_heads=4, attention=attention, generator=seeded()).blocks[0].branch
        assert branch.scale == scale


def test_weights_have_the_deviation_asked_for():
    for truncated, largest in ((True, 2 * 1.1368472343385565), (False, math.inf)):
        W = (
            ResidualTower(1, 256, "none", "linear", init_std=0.1, truncated=truncated, generator=seeded())
            .blocks[0]
            .branch.weight
        )
        assert float(W.detach().std()) == pytest.approx(0.1, rel=0.01)
        assert float(W.detach().mean()) == pytest.approx(0, abs=0.002)
        assert float(W.detach().abs().max()) / 0.1 <= largest * (1 + 1e-6)
        assert (float(W.detach().abs().max()) > 0.3) != truncated
        assert torch.equal(
            fill_(torch.empty(9), 0.1, truncated, seeded(3)), fill_(torch.empty(9), 0.1, truncated, seeded(3))
        )
    assert fill_(torch.ones(3), 0.0).tolist() == [0, 0, 0]
    cut = fill_(torch.empty(10_000), 1.0, generator=seeded())
    assert float(cut.abs().max()) <= 2 * 1.1368473


def test_draws_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    first, again = (ResidualTower(4, 8, n_heads=2, generator=seeded(5)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    x = randn(1, 3, 8, dtype=torch.float32)
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), ResidualTower(4, 8, n_heads=2, generator=seeded(6))(x))
    assert not torch.equal(first.blocks[0].branch.value.weight, first.blocks[2].branch.value.weight)
    assert not torch.equal(first.blocks[0].branch.value.weight, first.blocks[0].branch.key.weight)


# --- placements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", ["rezero", "fixup"])
def test_silent_branches(placement):
    """At the start the tower is the identity; of each branch only α, or only the zeroed matrix, has a gradient."""
    tower = ResidualTower(4, 8, placement, n_heads=2, generator=seeded(), dtype=torch.float64)
    x = randn(2, 3, 8)
    assert torch.equal(tower(x), x)
    (tower(x) * randn(2, 3, 8, seed=1)).sum().backward()
    moved = {name.split(".", 2)[2] for name, weight in tower.named_parameters() if float(weight.grad.abs().max()) > 0}
    last = {"branch.output.weight", "branch.output.bias", "branch.second.weight", "branch.second.bias"}
    assert moved == ({"alpha"} if placement == "rezero" else last)


@pytest.mark.parametrize("placement", ["post", "pre", "none", "deepnorm"])
def test_alpha_opens_the_branches(placement):
    tower = ResidualTower(2, 8, placement, "feed_forward", generator=seeded(), dtype=torch.float64)
    x = randn(1, 3, 8)
    full = tower.stream(x)[1].detach()
    skip, _ = residual_scales(placement, 2)
    block = tower.blocks[0]
    branch = block.branch(block.norm(x) if placement == "pre" else x)
    for alpha in (1.0, 0.3, 0.0):
        tower.set_alpha(alpha)
        expected = skip * x + alpha * branch
        if placement in ("post", "deepnorm"):
            expected = nn.functional.layer_norm(expected, (8,))
        np.testing.assert_allclose(tower.stream(x)[1].detach(), expected.detach(), rtol=1e-12, atol=1e-14)
    tower.set_alpha(1)
    assert torch.equal(tower.stream(x)[1], full)


def test_t5_and_the_division_are_one_parameterisation():
    """Queries smaller by c = 1/√d_head, with Adam's rates changed by c: the same trajectory, step for step."""
    c, losses = 4**-0.5, []
    for attention, rates in (("scaled", (0.01, 1e-8)), ("t5", equivalent_rates(c, 0.01)), ("t5", (0.01, 1e-8))):
        tower = ResidualTower(2, 8, "pre", n_heads=2, attention=attention, generator=seeded(), dtype=torch.float64)
        query = tower.blocks[0].branch.query
        rest = [weight for name, weight in tower.named_parameters() if ".query." not in name]
        queries = {"params": query.parameters(), "lr": rates[0], "eps": rates[1]}
        adam = torch.optim.Adam([{"params": rest}, queries], lr=0.01)
        x, y = randn(4, 6, 8), randn(4, 6, 8, seed=1)
        for _ in range(15):
            adam.zero_grad()
            loss = (tower(x) - y).square().mean()
            loss.backward()
            adam.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert abs(losses[2] / losses[0] - 1) > 1e-4


# --- what is measured -----------------------------------------------------------------------------


def test_trace_of_known_matrices():
    """Oracle: the states and gradients written out."""
    A, B = randn(3, 3, seed=1), randn(3, 3, seed=2)
    layers = [nn.Linear(3, 3, bias=False, dtype=torch.float64) for _ in range(2)]
    for layer, matrix in zip(layers, (A, B), strict=True):
        layer.weight.data.copy_(matrix)
    x, c = randn(2, 4, 3), randn(2, 4, 3, seed=3)
    trace = trace_signal(layers, x, c)
    states, gradients = [x, x @ A.T, x @ A.T @ B.T], [c @ B @ A, c @ B, c]
    np.testing.assert_allclose(trace["second_moment"], [float((s**2).mean()) for s in states], rtol=1e-12)
    norms = np.array([float(g.norm()) for g in gradients])
    np.testing.assert_allclose(trace["gradient_norm"], norms / norms[-1], rtol=1e-12)
    cosines = [float((s * x).sum() / (s.norm() * x.norm())) for s in states]
    np.testing.assert_allclose(trace["identity_weight"], cosines, rtol=1e-12)
    np.testing.assert_allclose(trace["token_correlation"], [float(token_cosine(s).mean()) for s in states], rtol=1e-12)
    assert trace["branch_second_moment"].shape == (0,)
    assert all(isinstance(values, np.ndarray) and values.dtype == np.float64 for values in trace.values())
    assert not x.requires_grad
    assert layers[0].weight.grad is None
    pair = trace_signal(layers, x[:, :2], c[:, :2])
    assert pair["token_correlation"][0] == pytest.approx(float(token_cosine(x[:, :2]).mean()), rel=1e-12)


def test_trace_of_a_tower_sees_its_branches_and_leaves_no_hooks():
    tower = ResidualTower(3, 8, "none", "linear", generator=seeded(), dtype=torch.float64)
    tower.set_alpha(0.5)
    x = randn(2, 4, 8)
    trace = trace_signal(tower, x, randn(2, 4, 8, seed=1))
    states = [state.detach() for state in tower.stream(x)]
    outputs = [float(((b - a) / 0.5).square().mean()) for a, b in pairwise(states)]
    np.testing.assert_allclose(trace["branch_second_moment"], outputs, rtol=1e-10)
    assert trace["second_moment"].shape == (4,)
    with pytest.raises(RuntimeError):
        trace_signal(tower, randn(2, 4, 7), randn(2, 4, 7))
    assert not any(block.branch._forward_hooks for block in tower.blocks)
    pre = ResidualTower(2, 8, "pre", generator=seeded(), dtype=torch.float64)
    np.testing.assert_allclose(  # before the final Norm
        trace_signal(pre, x, x)["second_moment"][-1], float(pre.stream(x)[-1].detach().square().mean()), rtol=1e-12
    )


def test_token_cosine_by_brute_force():
    h = randn(3, 5, 4)
    for b, ours in enumerate(token_cosine(h)):
        pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
        cosines = [float(h[b, i] @ h[b, j] / (h[b, i].norm() * h[b, j].norm())) for i, j in pairs]
        assert float(ours) == pytest.approx(np.mean(cosines), rel=1e-12)
    assert float(token_cosine(torch.tensor([[[1.0], [-1.0]]]))) == -1
    assert token_cosine(h.float().requires_grad_()).dtype == torch.float64


@pytest.mark.parametrize("placement", ["post", "pre", "none", "deepnorm"])
@pytest.mark.parametrize(("branch", "s2"), [("linear", 0.5), ("feed_forward", 0.3)])
def test_towers_of_homogeneous_branches_follow_the_exact_theory(placement, branch, s2):
    """Random matrices, and two of them with a ReLU between: E F² = s² E x² in both directions."""
    d, depth, seeds = 96, 8, 6
    std = math.sqrt(s2 / d) if branch == "linear" else (s2 * 2 / (d * 2 * d)) ** 0.25
    traces = []
    for seed in range(seeds):
        tower = ResidualTower(
            depth, d, placement, branch, init_std=std, d_ff=2 * d, activation="relu", generator=seeded(seed)
        )
        x, c = (randn(2, 16, d, seed=10 * seed + k, dtype=torch.float32) for k in (1, 2))
        traces.append(trace_signal(tower, x / x.square().mean().sqrt(), c))
    exact = residual_moments(depth, s2, placement)
    for ours, theirs, tolerance in (
        ("second_moment", "second_moment", 0.12),
        ("gradient_norm", "gradient_ratio", 0.09),
        ("identity_weight", "identity_weight", 0.12),
    ):
        measured = np.mean([trace[ours] for trace in traces], axis=0)
        np.testing.assert_allclose(measured, exact[theirs], rtol=tolerance, atol=0.02)


@pytest.mark.parametrize(("placement", "f"), [("post", 0.5), ("pre", 0.5), ("post", 0.6), ("pre", 0.6)])
def test_transformers_follow_the_mean_field_recursion(placement, f):
    layers, d, n, seeds = 6, 64, 16, 4
    std = f * d**-0.5
    traces = {0.0: [], -1 / (n - 1): []}
    for seed in range(seeds):
        tower = ResidualTower(2 * layers, d, placement, init_std=std, n_heads=4, generator=seeded(seed))
        x, c = (randn(8, n, d, seed=10 * seed + k, dtype=torch.float32) for k in (1, 2))
        traces[0.0].append(trace_signal(tower, x, c))
        traces[-1 / (n - 1)].append(trace_signal(tower, x, zero_sum(c)))
    for rho_g, measured in traces.items():
        theory = signal_propagation(layers, d, 4 * d, n, std, placement, gradient_correlation=rho_g)
        for key, tolerance in (("second_moment", 0.08), ("identity_weight", 0.08), ("gradient_norm", 0.1)):
            mean = np.mean([trace[key] for trace in measured], axis=0)
            np.testing.assert_allclose(mean, theory[key], rtol=tolerance, atol=0.02)
        rho = np.mean([trace["token_correlation"] for trace in measured], axis=0)
        np.testing.assert_allclose(rho, theory["token_correlation"], atol=0.08)


def test_layers_of_torch_in_turn_and_copies_of_one():
    """nn.TransformerEncoder copies a layer: at the start all branches add up in one direction, unlike fresh ones.

    The fresh ones, with the weights of the theory, follow signal_propagation; nothing is exact here.
    """
    d, n, layers = 48, 12, 8

    def layer() -> nn.Module:
        part = nn.TransformerEncoderLayer(
            d, 4, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for name, weight in part.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.75 * d**-0.5, generator=generator)
            elif "norm" not in name:
                nn.init.zeros_(weight)
        return part

    generator, grown, copied = seeded(), [], []
    for seed in range(3):
        x, c = (randn(4, n, d, seed=10 * seed + k, dtype=torch.float32) for k in (1, 2))
        fresh = trace_signal([layer() for _ in range(layers)], x, c)
        clones = trace_signal(nn.TransformerEncoder(layer(), layers, enable_nested_tensor=False).layers, x, c)
        grown.append(fresh["second_moment"][-1])
        copied.append(clones["second_moment"][-1])
        assert fresh["branch_second_moment"].size == 0
    theory = signal_propagation(layers, d, 4 * d, n, 0.75 * d**-0.5, "pre")["second_moment"][-1]
    assert np.mean(grown) == pytest.approx(theory, rel=0.2)
    assert np.mean(copied) > 1.8 * theory
