"""Bad input to `helpers.lipschitz`: each error names the argument, the rule and the value."""

import math
import re

import pytest
import torch
from torch import nn

from helpers.wgan import (
    MODES,
    clip_weights_,
    difference_quotient,
    generator_direction,
    gradient_normalize,
    gradient_penalty,
    input_gradient,
    local_norm,
    r1_penalty,
)

G = torch.Generator()
X = torch.zeros(4, 2)
LINEAR = nn.Linear(2, 1)
TAKE_X = {
    "input_gradient": lambda critic, x, **options: input_gradient(critic, x, **options),
    "raw": lambda critic, x, **options: gradient_normalize(critic, x, "raw", **options),
    "gn": lambda critic, x, **options: gradient_normalize(critic, x, "gn", **options),
    "generator_direction": generator_direction,
    "local_norm": local_norm,
    "difference_quotient": lambda critic, x, **options: difference_quotient(critic, x, 0.1, G, **options),
    "r1_penalty": r1_penalty,
    "gradient_penalty": lambda critic, x, **options: gradient_penalty(critic, x, X, generator=G, **options),
    "of fakes": lambda critic, x, **options: gradient_penalty(critic, X, x, generator=G, **options),
}
NAMES = {"r1_penalty": "real", "gradient_penalty": "real", "of fakes": "fake"}


def refused(error: type[Exception], message: str):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("name", TAKE_X)
def test_x_must_be_a_floating_tensor_of_rows(name):
    call, what = TAKE_X[name], NAMES.get(name, "x")
    with refused(TypeError, f"{what} must be a floating torch.Tensor, got torch.int64"):
        call(LINEAR, X.long())
    with refused(TypeError, f"{what} must be a floating torch.Tensor, got torch.complex64"):
        call(LINEAR, X.cfloat())
    with refused(TypeError, f"{what} must be a floating torch.Tensor, got list"):
        call(LINEAR, [[0.0, 1.0]])
    if name == "of fakes":
        return  # the rest is checked with the shape of the real ones
    for shape in ((4,), (0, 2), (4, 0)):
        with refused(ValueError, f"{what} must have rows of features after 1 batch axes, got shape {shape}"):
            call(LINEAR, torch.zeros(shape))
    with refused(ValueError, f"{what} must have rows of features after 2 batch axes, got shape (4, 2)"):
        call(LINEAR, X, batch_dims=2)
    for bad in (0, 1.0, True):
        with refused(ValueError, f"batch_dims must be an integer >= 1, got {bad!r}"):
            call(LINEAR, X, batch_dims=bad)


OUTPUTS = {
    "(4, 2)": lambda x: x,
    "()": lambda x: x.sum(),
    "(1, 4)": lambda x: x.sum(1)[None],
    "(4, 1, 1)": lambda x: x.sum(1)[:, None, None],
    "float": lambda x: 1.0,
}


@pytest.mark.parametrize("name", [name for name in TAKE_X if name != "of fakes"])
@pytest.mark.parametrize("got", OUTPUTS)
def test_critic_must_give_one_value_per_row(name, got):
    with refused(ValueError, f"critic(x) must have shape (4,) or (4, 1), one value per row, got {got}"):
        TAKE_X[name](OUTPUTS[got], X)


def test_shape_of_seeds():
    with refused(ValueError, "critic(x) must have shape (3, 4) or (3, 4, 1), one value per row, got (3, 4, 2)"):
        input_gradient(lambda x: x, torch.zeros(3, 4, 2), batch_dims=2)


GRADIENTS = ["input_gradient", "gn", "generator_direction", "local_norm", "r1_penalty", "gradient_penalty"]
W = torch.zeros(2, requires_grad=True)


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize(
    "critic", [lambda x: torch.ones(len(x)), lambda x: x.detach().sum(1), lambda x: x.detach() @ W]
)
def test_critic_must_be_a_function_of_x(name, critic):
    message = "critic(x) must depend on x through autograd, got a value without a gradient in x"
    for context in (torch.enable_grad, torch.no_grad):
        with context(), refused(ValueError, message):
            TAKE_X[name](critic, X)


@pytest.mark.parametrize("name", GRADIENTS)
def test_values_and_gradients_must_be_finite(name):
    message = "critic(x) and its gradient must be finite, got NaN or infinity in {} row(s)"
    x = torch.tensor([[1.0, 1.0], [0.0, 1.0], [-1.0, 1.0], [2.0, 1.0]])
    for critic, rows in (
        (lambda x: x[:, 0] / (x[:, 0] > 0), 2),  # infinite or NaN values
        (lambda x: 1.0 * x[:, 0].abs().sqrt() * (x[:, 0] != 5), 1),  # an infinite gradient at 0
        (lambda x: x.sum(1) * math.nan, 4),
    ):
        call = TAKE_X[name] if name != "gradient_penalty" else lambda c, x: gradient_penalty(c, x, x, generator=G)
        with refused(ValueError, message.format(rows)):
            call(critic, x)


def test_finite_values_whose_sum_overflows_are_fine():
    value, grad = input_gradient(lambda x: 3e38 * x[:, 0], torch.ones(4, 1))
    assert value.tolist() == grad[:, 0].tolist() == [torch.tensor(3e38).item()] * 4


def test_dead_regions_leave_nothing_to_divide_by():
    def critic(x: torch.Tensor) -> torch.Tensor:
        return x[:, 0].relu() + 1

    x = torch.tensor([[1.0], [-1.0], [-2.0]])
    for mode, eps in (("plain", 0.1), ("inner", 0.1), ("add_eps", 0)):
        message = f"critic must have a gradient in x for mode {mode!r}, got |∇D| = 0 in 2 row(s)"
        for function in (gradient_normalize, generator_direction):
            with refused(ValueError, message):
                function(critic, x, mode, eps)
    assert gradient_normalize(critic, x[:1], "add_eps", 0).tolist() == [2.0]
    one = "critic must have a gradient in x for mode 'plain', got |∇D| = 0 in 1 row(s)"
    with refused(ValueError, one):
        gradient_normalize(critic, x[1:2], "plain")


@pytest.mark.parametrize("function", [gradient_normalize, generator_direction, local_norm])
def test_modes_and_eps(function):
    with refused(ValueError, f"mode must be one of {MODES}, got 'spectral'"):
        function(LINEAR, X, "spectral")
    for bad in (-0.1, math.nan, math.inf, "0.1", True):
        with refused(ValueError, f"eps must be a finite number >= 0, got {bad!r}"):
            function(LINEAR, X, "raw", bad)
    with refused(ValueError, "eps must be > 0 for gran, got 0"):
        function(LINEAR, X, "gran", 0)


def test_penalties():
    with refused(ValueError, "real and fake must have the same shape, got (4, 2) and (3, 2)"):
        gradient_penalty(LINEAR, X, X[:3], generator=G)
    for bad in (-1.0, math.inf, None):
        message = f"weight must be a finite number >= 0, got {bad!r}"
        with refused(ValueError, message):
            gradient_penalty(LINEAR, X, X, bad, generator=G)
        with refused(ValueError, message):
            r1_penalty(LINEAR, X, bad)


def test_radius_and_clipping():
    for bad in (0.0, -1.0, math.inf, math.nan):
        with refused(ValueError, f"radius must be a finite number > 0, got {bad!r}"):
            difference_quotient(LINEAR, X, bad, G)
        with refused(ValueError, f"c must be a finite number > 0, got {bad!r}"):
            clip_weights_(LINEAR, bad)
