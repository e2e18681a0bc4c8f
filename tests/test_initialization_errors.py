"""Bad input: each error names the argument, the rule and the value."""

import math
import re

import numpy as np
import pytest
import torch

from helpers.initialization import (
    ACTIVATIONS,
    activation_moments,
    attention_entropy,
    attention_weights,
    conv_fans,
    expected_maximum,
    expected_softmax_statistics,
    fixed_point_stability,
    gain,
    gain_loss,
    gelu_kernel,
    geometric_,
    init_variance,
    log_gain_moments,
    marchenko_pastur_edges,
    moment_map,
    power_mean_variance,
    relative_gradient_profile,
    relu_kernel,
    sample_weight,
    scaled_orthogonal_,
    second_moment_gains,
    simulate_second_moments,
    singular_value_density,
    softmax_jacobian,
    truncated_normal,
    truncated_normal_variance,
    weighted_geometric_variance,
)

RELU = ACTIVATIONS["relu"]
BAD = {
    "cutoff 0": (lambda: truncated_normal_variance(0), "cutoff must be a finite number > 0, got 0"),
    "cutoff negative": (lambda: truncated_normal_variance(-1.0), "cutoff must be a finite number > 0, got -1.0"),
    "cutoff infinite": (lambda: truncated_normal(3, 1, math.inf), "cutoff must be a finite number > 0, got inf"),
    "std negative": (lambda: truncated_normal(3, -0.1), "std must be a finite number >= 0, got -0.1"),
    "std infinite": (lambda: truncated_normal(3, math.inf), "std must be a finite number >= 0, got inf"),
    "std text": (lambda: truncated_normal(3, "1"), "std must be a finite number >= 0, got '1'"),
    "shape 1-D": (lambda: sample_weight((3,)), "shape must be (fan_in, fan_out), got (3,)"),
    "shape number": (lambda: sample_weight(3), "shape must be (fan_in, fan_out), got 3"),
    "distribution": (
        lambda: sample_weight((3, 2), "cauchy"),
        "distribution must be one of ('normal', 'uniform', 'truncated_normal'), got 'cauchy'",
    ),
    "fan in weights": (lambda: sample_weight((0, 2)), "fan_in must be an integer >= 1, got 0"),
    "mode in weights": (lambda: sample_weight((3, 2), "normal", "avg"), "mode must be one of ('fan_in', 'fan_out',"),
    "cut of weights": (
        lambda: sample_weight((3, 2), "truncated_normal", cutoff=-2.0),
        "cutoff must be a finite number > 0, got -2.0",
    ),
    "fan_in 0": (lambda: init_variance(0, 2), "fan_in must be an integer >= 1, got 0"),
    "fan_in float": (lambda: init_variance(2.0, 2), "fan_in must be an integer >= 1, got 2.0"),
    "fan_out negative": (lambda: init_variance(2, -2), "fan_out must be an integer >= 1, got -2"),
    "mode": (lambda: init_variance(2, 2, "xavier"), "mode must be one of ('fan_in', 'fan_out', 'fan_avg'"),
    "mode is told": (lambda: init_variance(2, 2, "xavier"), "'min', 'isometry'), got 'xavier'"),
    "gain 0": (lambda: init_variance(2, 2, gain=0.0), "gain must be a finite number > 0, got 0.0"),
    "gain infinite": (lambda: init_variance(2, 2, gain=math.inf), "gain must be a finite number > 0, got inf"),
    "loss of fan_in": (lambda: gain_loss(1.0, "fan_in"), "mode must be one of ('fan_avg', 'fan_geo_avg',"),
    "loss at 0": (lambda: gain_loss([1.0, 0.0], "fan_avg"), "gains must be finite numbers > 0, got [1.0, 0.0]"),
    "loss at inf": (lambda: gain_loss(math.inf, "fan_avg"), "gains must be finite numbers > 0, got inf"),
    "alpha": (lambda: weighted_geometric_variance(2, 2, 1.1), "alpha must be in [0, 1], got 1.1"),
    "alpha negative": (lambda: weighted_geometric_variance(2, 2, -0.1), "alpha must be in [0, 1], got -0.1"),
    "alpha fan_in": (lambda: weighted_geometric_variance(0, 2, 0.5), "fan_in must be an integer >= 1, got 0"),
    "alpha fan_out": (lambda: weighted_geometric_variance(2, 0, 0.5), "fan_out must be an integer >= 1, got 0"),
    "p": (lambda: power_mean_variance(2, 2, math.nan), "p must be a number or ±inf, got nan"),
    "p fan_in": (lambda: power_mean_variance(0, 2, 1), "fan_in must be an integer >= 1, got 0"),
    "p fan_out": (lambda: power_mean_variance(2, 0, 1), "fan_out must be an integer >= 1, got 0"),
    # fans of tensors
    "1-D weight": (
        lambda: conv_fans(np.empty(3)),
        "weight must have at least two dimensions and no empty one, got shape (3,)",
    ),
    "empty weight": (
        lambda: conv_fans(np.empty((3, 0))),
        "weight must have at least two dimensions and no empty one, got shape (3, 0)",
    ),
    "groups": (lambda: conv_fans(np.empty((4, 1, 3)), groups=0), "groups must be an integer >= 1, got 0"),
    "groups divide": (
        lambda: conv_fans(np.empty((4, 1, 3)), groups=3),
        "groups must divide the first dimension of weight, 4, got 3",
    ),
    "stride": (lambda: conv_fans(np.empty((4, 1, 3)), stride=0), "stride must be an integer >= 1, got 0"),
    "stride float": (lambda: conv_fans(np.empty((4, 1, 3)), stride=2.0), "stride must be an integer >= 1, got 2.0"),
    "strides": (
        lambda: conv_fans(np.empty((4, 1, 3)), stride=(2, 2)),
        "stride must have 1 entries, one per axis of the kernel, got 2",
    ),
    "dense stride": (
        lambda: conv_fans(np.empty((4, 2)), stride=2),
        "weight must have kernel dimensions for a stride, groups or transposed, got a dense layer",
    ),
    "dense groups": (lambda: conv_fans(np.empty((4, 2)), groups=2), "groups or transposed, got a dense layer"),
    "dense transposed": (lambda: conv_fans(np.empty((4, 2)), transposed=True), "transposed, got a dense layer"),
    "geometric 1-D": (lambda: geometric_(torch.empty(3)), "weight must have at least two dimensions"),
    "geometric gain": (lambda: geometric_(torch.empty(3, 2), -1.0), "gain must be a finite number > 0, got -1.0"),
    "orthogonal 1-D": (lambda: scaled_orthogonal_(torch.empty(3)), "weight must have at least two dimensions"),
    "orthogonal mode": (lambda: scaled_orthogonal_(torch.empty(3, 2), "a"), "mode must be one of ('fan_in',"),
    # activations
    "variance 0": (lambda: activation_moments(RELU, 0.0), "variance must be a finite number > 0, got 0.0"),
    "variance infinite": (lambda: activation_moments(RELU, math.inf), "variance must be a finite number > 0, got inf"),
    "nodes": (lambda: activation_moments(RELU, 1.0, 39), "n_nodes must be an integer >= 40, got 39"),
    "shape of f": (
        lambda: activation_moments(lambda x: x.sum()),
        "f must return finite numbers of its input's shape (20, 20), got shape ()",
    ),
    "nan of f": (lambda: activation_moments(lambda x: x * np.nan), "f must return finite numbers of its input's shape"),
    "zero f": (lambda: gain(lambda x: 0 * x), "f must not be zero almost everywhere, got E f² = 0"),
    "constant f": (
        lambda: gain(lambda x: 0 * x + 3, center=True),
        "f must not be constant almost everywhere, got E f² = 9",
    ),
    "constant stability": (
        lambda: fixed_point_stability(lambda x: 0 * x + 0.1, center=True),
        "f must not be constant almost everywhere, got E f² = 0.01",
    ),
    "map at 0": (lambda: moment_map(RELU, [1.0, 0.0], 1.0), "variance must be a finite number > 0, got 0.0"),
    "map gain": (lambda: moment_map(RELU, 1.0, 0.0), "gain must be a finite number > 0, got 0.0"),
    "map gain infinite": (lambda: moment_map(RELU, 1.0, math.inf), "gain must be a finite number > 0, got inf"),
    "kernel variance": (lambda: gelu_kernel(-0.1), "variance must be finite and >= 0, got -0.1"),
    "kernel infinite": (lambda: gelu_kernel(math.inf), "variance must be finite and >= 0, got inf"),
    "kernel correlation": (lambda: gelu_kernel(1.0, 1.01), "correlation must be in [-1, 1], got 1.01"),
    "kernel nan": (lambda: relu_kernel(1.0, [0.0, math.nan]), "correlation must be in [-1, 1], got [0.0, nan]"),
    "relu variance": (lambda: relu_kernel([1.0, -2.0]), "variance must be finite and >= 0, got [1.0, -2.0]"),
    # attention
    "q 1-D": (lambda: attention_weights([1.0], [[1.0]]), "q must have 2 dimension(s), got shape (1,)"),
    "k 1-D": (lambda: attention_weights([[1.0]], [1.0]), "k must have 2 dimension(s), got shape (1,)"),
    "widths of q, k": (
        lambda: attention_weights([[1.0, 2.0]], [[1.0]]),
        "k must have as many columns as q (2), got 1",
    ),
    "scale text": (
        lambda: attention_weights([[1.0]], [[1.0]], "none"),
        "scale must be 'sqrt', None or a finite number, got 'none'",
    ),
    "scale nan": (
        lambda: attention_weights([[1.0]], [[1.0]], math.nan),
        "scale must be 'sqrt', None or a finite number, got nan",
    ),
    "p negative": (lambda: attention_entropy([1.5, -0.5]), "p must be >= 0, got -0.5"),
    "p nan": (lambda: attention_entropy([1.0, math.nan]), "p must be >= 0, got nan"),
    "p sum": (
        lambda: attention_entropy([[0.5, 0.5], [0.5, 0.4]]),
        "p must sum to 1 within 1e-6 over its last axis, got an error of 0.1",
    ),
    "p sum tight": (lambda: attention_entropy([0.5, 0.5 + 1.1e-6]), "p must sum to 1 within 1e-6"),
    "p scalar": (
        lambda: attention_entropy(1.0),
        "p must have at least one entry along its last axis, got shape ()",
    ),
    "p empty": (lambda: attention_entropy(np.empty((2, 0))), "p must have at least one entry along its last axis, got"),
    "p 2-D": (lambda: softmax_jacobian([[1.0]]), "p must have 1 dimension(s), got shape (1, 1)"),
    "Jacobian sum": (
        lambda: softmax_jacobian([0.5]),
        "p must sum to 1 within 1e-6 over its last axis, got an error of 0.5",
    ),
    "no keys": (lambda: expected_softmax_statistics(0, 1.0), "n must be an integer >= 1, got 0"),
    "negative std": (lambda: expected_softmax_statistics(3, -1.0), "std must be a finite number >= 0, got -1.0"),
    "infinite std": (lambda: expected_softmax_statistics(3, math.inf), "std must be a finite number >= 0, got inf"),
    "no normals": (lambda: expected_maximum(0), "n must be an integer >= 1, got 0"),
    # chains
    "one width": (lambda: second_moment_gains([3], "max"), "widths must hold at least two numbers, got 1"),
    "width 0": (lambda: second_moment_gains([3, 0], "max"), "widths must be an integer >= 1, got 0"),
    "width float": (lambda: log_gain_moments([3.0, 2], "max"), "widths must be an integer >= 1, got 3.0"),
    "chain mode": (lambda: second_moment_gains([3, 2], "a"), "mode must be one of ('fan_in',"),
    "chain function": (
        lambda: second_moment_gains([3, 2], lambda m, n: 0.0),
        "the variance of mode must be a finite number > 0, got 0.0",
    ),
    "chain infinite": (
        lambda: second_moment_gains([3, 2], lambda m, n: math.inf),
        "the variance of mode must be a finite number > 0, got inf",
    ),
    "activation": (
        lambda: second_moment_gains([3, 2], "max", "gelu"),
        "activation must be one of ('linear', 'relu'), got 'gelu'",
    ),
    "profile activation": (
        lambda: relative_gradient_profile([3, 2], "max", "a"),
        "activation must be one of ('linear',",
    ),
    "simulated activation": (
        lambda: simulate_second_moments([3, 2], "max", "gelu"),
        "activation must be one of ('linear', 'relu'), got 'gelu'",
    ),
    "batch": (lambda: simulate_second_moments([3, 2], "max", batch=0), "batch must be an integer >= 1, got 0"),
    "seeds": (lambda: simulate_second_moments([3, 2], "max", seeds=0), "seeds must be an integer >= 1, got 0"),
    "edges fan_in": (lambda: marchenko_pastur_edges(0, 2, 1.0), "fan_in must be an integer >= 1, got 0"),
    "edges fan_out": (lambda: marchenko_pastur_edges(2, 0, 1.0), "fan_out must be an integer >= 1, got 0"),
    "edges variance": (lambda: marchenko_pastur_edges(2, 2, 0.0), "variance must be a finite number > 0, got 0.0"),
    "edges infinite": (lambda: marchenko_pastur_edges(2, 2, math.inf), "variance must be a finite number > 0, got inf"),
    "density": (lambda: singular_value_density(-1.0, 2, 2, 1.0), "s must be finite and >= 0, got -1.0"),
    "density infinite": (lambda: singular_value_density(math.inf, 2, 2, 1.0), "s must be finite and >= 0, got inf"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("call", [activation_moments, gain, fixed_point_stability, lambda f: moment_map(f, 1.0, 1.0)])
def test_an_activation_must_be_a_function(call):
    with pytest.raises(TypeError, match=r"^f must be a function of an array, got 'gelu'$"):
        call("gelu")


def test_messages_begin_with_the_argument():
    for call, _ in BAD.values():
        with pytest.raises(ValueError, match=r"^(the variance of )?[a-zA-Z_]+ must ") as failure:
            call()
        assert "XX" not in str(failure.value)
