"""Bad input: each error names the argument, the rule and the value."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from helpers.residual import (
    AlphaSchedule,
    MaskedLanguageModel,
    PermutationChain,
    ResidualTower,
    adam_displacement,
    adam_first_step,
    adam_step_ratio,
    branch_variance,
    equivalent_rates,
    gradient_snr,
    linear_warmup,
    mask_tokens,
    residual_moments,
    residual_scales,
    signal_propagation,
    token_cosine,
    trace_signal,
    train_mlm,
)

RNG = np.random.default_rng(0)
PLACED = "placement must be one of ('post', 'pre', 'none', 'rezero', 'fixup', 'deepnorm'), got 'Post'"


def model(**change) -> MaskedLanguageModel:
    options = dict(vocab=6, max_len=8, n_layers=1, d_model=8, n_heads=2, d_ff=16, placement="post", init_std=0.1)
    return MaskedLanguageModel(**(options | change))


def tower(depth=2, d_model=8, *args, **options) -> ResidualTower:
    return ResidualTower(depth, d_model, *args, **options)


def train(**change):
    options = dict(model=model(), chain=PermutationChain(6), steps=1, lr=1e-3)
    return train_mlm(**(options | change))


X = torch.ones(1, 3, 8)
BAD = {
    "depth": (lambda: residual_moments(-1, 1.0, "post"), "depth must be an integer >= 0, got -1"),
    "depth float": (lambda: residual_scales("post", 1.0), "depth must be an integer >= 0, got 1.0"),
    "branch_variance": (lambda: residual_moments(1, -1.0, "post"), "branch_variance must be finite and >= 0, got -1.0"),
    "branch_variance inf": (
        lambda: residual_moments(1, math.inf, "post"),
        "branch_variance must be finite and >= 0, got inf",
    ),
    "placement": (lambda: residual_moments(1, 1.0, "Post"), PLACED),
    "placement of scales": (lambda: residual_scales("Post", 1), PLACED),
    "init_std": (lambda: branch_variance(0.0, 8, 8, 8), "init_std must be a finite number > 0, got 0.0"),
    "init_std inf": (lambda: branch_variance(math.inf, 8, 8, 8), "init_std must be a finite number > 0, got inf"),
    "d_model": (lambda: branch_variance(0.1, 0, 8, 8), "d_model must be an integer >= 1, got 0"),
    "d_ff": (lambda: branch_variance(0.1, 8, 0, 8), "d_ff must be an integer >= 1, got 0"),
    "n_tokens": (lambda: branch_variance(0.1, 8, 8, 0), "n_tokens must be an integer >= 1, got 0"),
    "activation": (
        lambda: branch_variance(0.1, 8, 8, 8, activation="silu"),
        "activation must be one of ('gelu', 'relu'), got 'silu'",
    ),
    "token_correlation": (
        lambda: branch_variance(0.1, 8, 8, 5, 1.5),
        "token_correlation must be in [-0.25, 1], got 1.5",
    ),
    "token_correlation low": (
        lambda: branch_variance(0.1, 8, 8, 5, -0.26),
        "token_correlation must be in [-0.25, 1], got -0.26",
    ),
    "token_correlation of one": (
        lambda: branch_variance(0.1, 8, 8, 1, -1.1),
        "token_correlation must be in [-1, 1], got -1.1",
    ),
    "n_layers": (lambda: signal_propagation(-1, 8, 8, 8, 0.1), "n_layers must be an integer >= 0, got -1"),
    "propagation placement": (lambda: signal_propagation(1, 8, 8, 8, 0.1, "Post"), PLACED),
    "propagation activation": (
        lambda: signal_propagation(1, 8, 8, 8, 0.1, "post", "tanh"),
        "activation must be one of ('gelu', 'relu'), got 'tanh'",
    ),
    "propagation std": (lambda: signal_propagation(1, 8, 8, 8, -0.1), "init_std must be a finite number > 0, got -0.1"),
    "gradient_correlation": (
        lambda: signal_propagation(1, 8, 8, 3, 0.1, gradient_correlation=-0.6),
        "gradient_correlation must be in [-0.5, 1], got -0.6",
    ),
    "initial token_correlation": (
        lambda: signal_propagation(1, 8, 8, 3, 0.1, token_correlation=2.0),
        "token_correlation must be in [-0.5, 1], got 2.0",
    ),
    "overflow": (
        lambda: signal_propagation(48, 1600, 6400, 128, 1.0, "none"),
        "init_std must keep second moments below 1e+100, got 1.0 (6.80568e+102 at x_16)",
    ),
    # steps
    "snr": (lambda: adam_step_ratio(-0.1), "snr must be >= 0, got -0.1"),
    "snr nan": (lambda: adam_displacement(3, math.nan), "snr must be >= 0, got nan"),
    "beta1": (lambda: adam_step_ratio(0.1, 1.0), "beta1 must be in [0, 1), got 1.0"),
    "beta1 negative": (lambda: adam_step_ratio(0.1, -0.1), "beta1 must be in [0, 1), got -0.1"),
    "n_steps": (lambda: adam_displacement(-1, 0.1), "n_steps must be finite and >= 0, got -1"),
    "n_steps inf": (lambda: adam_displacement(math.inf, 0.1), "n_steps must be finite and >= 0, got inf"),
    "g": (lambda: adam_first_step(math.inf), "g must be finite, got inf"),
    "lr": (lambda: adam_first_step(1.0, -1.0), "lr must be a finite number >= 0, got -1.0"),
    "lr inf": (lambda: adam_first_step(1.0, math.inf), "lr must be a finite number >= 0, got inf"),
    "eps": (lambda: adam_first_step(1.0, 1.0, 0.0), "eps must be a finite number > 0, got 0.0"),
    "eps inf": (lambda: adam_first_step(1.0, 1.0, math.inf), "eps must be a finite number > 0, got inf"),
    "scale": (lambda: equivalent_rates(0.0, 0.1), "scale must be a finite number > 0, got 0.0"),
    "scale inf": (lambda: equivalent_rates(math.inf, 0.1), "scale must be a finite number > 0, got inf"),
    "rate": (lambda: equivalent_rates(1.0, 0.0), "lr must be a finite number > 0, got 0.0"),
    "rate inf": (lambda: equivalent_rates(1.0, math.inf), "lr must be a finite number > 0, got inf"),
    "rate eps": (lambda: equivalent_rates(1.0, 0.1, -1.0), "eps must be a finite number >= 0, got -1.0"),
    "rate eps inf": (lambda: equivalent_rates(1.0, 0.1, math.inf), "eps must be a finite number >= 0, got inf"),
    "optimizer": (
        lambda: equivalent_rates(1.0, 0.1, optimizer="lion"),
        "optimizer must be one of ('adam', 'sgd'), got 'lion'",
    ),
    "step": (lambda: linear_warmup(-1, 3, 1.0), "step must be an integer >= 0, got -1"),
    "warmup_steps": (lambda: linear_warmup(1, -3, 1.0), "warmup_steps must be an integer >= 0, got -3"),
    "peak": (lambda: linear_warmup(1, 3, -1.0), "peak must be a finite number >= 0, got -1.0"),
    "peak inf": (lambda: linear_warmup(1, 3, math.inf), "peak must be a finite number >= 0, got inf"),
    "steps of alpha": (lambda: AlphaSchedule(0), "steps must be an integer >= 1, got 0"),
    "step of alpha": (lambda: AlphaSchedule(3)(-1), "step must be an integer >= 0, got -1"),
    # tower
    "tower depth": (lambda: tower(-1), "depth must be an integer >= 0, got -1"),
    "tower d_model": (lambda: tower(2, 0), "d_model must be an integer >= 1, got 0"),
    "tower n_heads": (lambda: tower(n_heads=0), "n_heads must be an integer >= 1, got 0"),
    "tower heads divide": (lambda: tower(n_heads=3), "n_heads must divide d_model = 8, got 3"),
    "tower d_ff": (lambda: tower(d_ff=0), "d_ff must be an integer >= 1, got 0"),
    "tower std": (lambda: tower(init_std=0.0), "init_std must be a finite number > 0, got 0.0"),
    "tower std inf": (lambda: tower(init_std=math.inf), "init_std must be a finite number > 0, got inf"),
    "tower placement": (lambda: tower(2, 8, "Post"), PLACED),
    "tower branch": (
        lambda: tower(2, 8, "post", "ffn"),
        "branch must be one of ('linear', 'feed_forward', 'attention', 'transformer'), got 'ffn'",
    ),
    "tower activation": (lambda: tower(activation="a"), "activation must be one of ('gelu', 'relu'), got 'a'"),
    "tower attention": (
        lambda: tower(attention="a"),
        "attention must be one of ('scaled', 'unscaled', 't5', 'split'), got 'a'",
    ),
    "tower norm": (lambda: tower(norm="batch"), "norm must be one of ('layer', 'rms'), got 'batch'"),
    "alpha": (lambda: tower().set_alpha(math.nan), "alpha must be a finite number, got nan"),
    "alpha of rezero": (
        lambda: tower(2, 8, "rezero").set_alpha(0.5),
        "placement must be another than 'rezero' for set_alpha: there alpha is a parameter",
    ),
    "x 2-D": (lambda: trace_signal(tower(), X[0], X[0]), "x must have shape [batch, tokens >= 2, d_model], got (3, 8)"),
    "one token": (
        lambda: trace_signal(tower(), X[:, :1], X[:, :1]),
        "x must have shape [batch, tokens >= 2, d_model], got (1, 1, 8)",
    ),
    "cotangent": (
        lambda: trace_signal(tower(), X, X[:, :2]),
        "cotangent must have the shape of x, (1, 3, 8), got (1, 2, 8)",
    ),
    "h": (lambda: token_cosine(X[0]), "h must have shape [batch, n >= 2, d], got (3, 8)"),
    "h of one": (lambda: token_cosine(X[:, :1]), "h must have shape [batch, n >= 2, d], got (1, 1, 8)"),
    # language model
    "vocab of chain": (lambda: PermutationChain(1), "vocab must be an integer >= 2, got 1"),
    "noise": (lambda: PermutationChain(3, 1.1), "noise must be in [0, 1], got 1.1"),
    "noise negative": (lambda: PermutationChain(3, -0.1), "noise must be in [0, 1], got -0.1"),
    "seed of chain": (lambda: PermutationChain(3, 0.1, -1), "seed must be an integer >= 0, got -1"),
    "batch": (lambda: PermutationChain(3).sample(0, 3, RNG), "batch must be an integer >= 1, got 0"),
    "length": (lambda: PermutationChain(3).sample(3, 0, RNG), "length must be an integer >= 1, got 0"),
    "x 1-D": (
        lambda: mask_tokens([1, 2], 0.5, 3, RNG),
        "x must be a 2-D array of integers, got int64 of shape (2,)",
    ),
    "x float": (
        lambda: mask_tokens([[1.0]], 0.5, 3, RNG),
        "x must be a 2-D array of integers, got float64 of shape (1, 1)",
    ),
    "p": (lambda: mask_tokens([[1]], 0.0, 3, RNG), "p must be in (0, 1), got 0.0"),
    "p 1": (lambda: mask_tokens([[1]], 1.0, 3, RNG), "p must be in (0, 1), got 1.0"),
    "vocab": (lambda: model(vocab=1), "vocab must be an integer >= 2, got 1"),
    "max_len": (lambda: model(max_len=0), "max_len must be an integer >= 1, got 0"),
    "layers": (lambda: model(n_layers=-1), "n_layers must be an integer >= 0, got -1"),
    "heads": (lambda: model(n_heads=3), "n_heads must divide d_model = 8, got 3"),
    "std": (lambda: model(init_std=0.0), "init_std must be a finite number > 0, got 0.0"),
    "too long": (
        lambda: model()(np.zeros((1, 9), dtype=int)),
        "inputs must have shape [batch, n <= 8], got (1, 9)",
    ),
    "inputs 1-D": (lambda: model()(np.zeros(3, dtype=int)), "inputs must have shape [batch, n <= 8], got (3,)"),
    "steps": (lambda: train(steps=-1), "steps must be an integer >= 0, got -1"),
    "seed": (lambda: train(seed=-1), "seed must be an integer >= 0, got -1"),
    "training lr": (lambda: train(lr=0.0), "lr must be a finite number > 0, got 0.0"),
    "training lr inf": (lambda: train(lr=math.inf), "lr must be a finite number > 0, got inf"),
    "training warm-up": (lambda: train(warmup_steps=-1, steps=0), "warmup_steps must be an integer >= 0, got -1"),
    "chain": (
        lambda: train(chain=PermutationChain(7)),
        "chain must have at most 6 tokens, those of the model, got 7",
    ),
    "mask_rate": (lambda: train(mask_rate=1.0), "p must be in (0, 1), got 1.0"),
    "one batch": (
        lambda: gradient_snr(model(), [mask_tokens([[1, 2]], 0.5, 6, RNG)]),
        "batches must hold at least two batches, got 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_parts_must_be_modules():
    with pytest.raises(TypeError, match=r"^model must be a ResidualTower or hold modules, got function$"):
        trace_signal([nn.Identity(), lambda x: x], X, X)


def test_the_ends_of_the_ranges_are_allowed():
    assert branch_variance(0.1, 1, 1, 1, -1.0)[0] >= 0
    assert branch_variance(0.1, 8, 8, 3, -1 / 2)[0] == 0
    assert signal_propagation(0, 1, 1, 1, 0.1)["second_moment"].tolist() == [1]
    assert residual_moments(0, 0.0, "deepnorm")["identity_weight"].tolist() == [1]
    assert len(signal_propagation(1, 8, 8, 50, 0.1, gradient_correlation=-1 / 49)["gradient_norm"]) == 3
    assert mask_tokens([[0]], 1e-9, 1, RNG)[1].tolist() == [[True]]
    assert PermutationChain(2, 0.0).sample(1, 1, RNG).shape == (1, 1)
    assert train(chain=PermutationChain(5))["loss"].shape == (1,)
    assert model()(np.zeros((1, 8), dtype=int)).shape == (1, 8, 6)
