"""Plain networks: against their formula written with loops, finite differences and the closed form of linear ones."""

import numpy as np
import pytest
import torch

from helpers.optimizer_steps import adam_first_step
from helpers.plain_network import POINTS, RATES, SEEDS, WIDTH, PlainNetworks, rings


def by_hand(networks, k, activation, skip):
    """Loss of network k with NumPy and one layer after the other, in float64."""
    get = lambda tensor: tensor.detach().double().numpy()  # noqa: E731
    first, hidden, last = (get(part) for part in (networks.first, networks.hidden, networks.last))
    h = activation(get(networks.x) @ first[k])
    for weight in hidden[:, k]:
        h = skip * h + activation(h @ weight)
    z, y = (h @ last[k])[:, 0], get(networks.y)
    return np.mean(np.logaddexp(0, z) - y * z)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("tanh", np.tanh),
        ("relu", lambda z: np.maximum(z, 0)),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("linear", lambda z: z),
    ],
)
def test_losses_are_those_of_the_formula(name, activation, skip):
    networks = PlainNetworks(3, name, 0.8, skip=skip)
    losses = networks.losses().detach().numpy()
    assert losses.shape == (SEEDS,)
    np.testing.assert_allclose(losses, [by_hand(networks, k, activation, skip) for k in range(SEEDS)], rtol=1e-5)


def test_biases_count():
    networks = PlainNetworks(2, "tanh", 1.0)
    before = networks.losses()
    for bias in networks.biases:
        with torch.no_grad():
            bias += 0.3
        after = networks.losses()
        assert ((after - before).abs() > 1e-4).all()
        before = after


def test_first_bias_is_added():
    networks = PlainNetworks(1, "linear", 1.0)
    with torch.no_grad():
        networks.biases[0] += 0.25
    expected = networks.x @ networks.first + 0.25
    assert torch.allclose(networks.states()[0], expected)


def test_weights_have_the_standard_deviations_they_should_and_seeds_count():
    networks = PlainNetworks(20, "relu", 1.5)
    assert networks.hidden.shape == (20, SEEDS, WIDTH, WIDTH)
    assert float(networks.hidden.detach().std()) == pytest.approx(1.5 / WIDTH**0.5, rel=0.01)
    assert float(networks.first.detach().std()) == pytest.approx(2**-0.5, rel=0.1)
    assert float(networks.last.detach().std()) == pytest.approx(WIDTH**-0.5, rel=0.2)
    assert all(float(bias.detach().abs().max()) == 0 for bias in networks.biases)
    assert torch.equal(networks.first, PlainNetworks(2, "tanh").first)
    assert not torch.equal(networks.first, PlainNetworks(2, "tanh", seed=1).first)
    assert len({float(weight.detach().sum()) for weight in networks.hidden[0]}) == SEEDS


def test_weight_gradient_is_that_of_finite_differences():
    networks, layer = PlainNetworks(3, "tanh", 1.0), 1
    found = networks.gradients()["weight"][layer]
    rng, squares = np.random.default_rng(0), []
    hidden = networks.hidden
    for _ in range(40):  # E (u'g)² = mean g² over entries, for directions u of independent unit entries
        direction = torch.tensor(rng.standard_normal(hidden.shape[1:]), dtype=torch.float32)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                networks.hidden = hidden.clone()
                networks.hidden[layer] += sign * 1e-2 * direction
                ends.append(networks.losses().double())
        squares.append((((ends[0] - ends[1]) / 2e-2) ** 2).sum() / (SEEDS * WIDTH**2))
    assert float(np.sqrt(np.mean(squares))) == pytest.approx(found, rel=0.3)


def test_linear_states_shrink_by_the_gain_and_weights_alike():
    found = PlainNetworks(10, "linear", 0.5).gradients()
    ratios = found["state"][:-1] / found["state"][1:]
    assert (found["state"][0] / found["state"][-1]) ** 0.1 == pytest.approx(0.5, rel=0.05)  # the mean of the square
    assert ratios.max() < 0.6
    np.testing.assert_allclose(found["weight"] / found["weight"].mean(), 1, atol=0.5)
    assert found["state"].shape == (11,)
    assert found["weight"].shape == (10,)


def test_gradient_at_the_top_is_the_derivative_of_the_loss():
    networks = PlainNetworks(2, "tanh", 1.0)
    top = networks.states()[-1]
    z = (top @ networks.last)[..., 0].detach()
    error = (torch.sigmoid(z) - networks.y) / POINTS
    expected = (error[..., None] * networks.last[:, :, 0][:, None]).detach().square().sum(dim=(1, 2)).mean().sqrt()
    assert networks.gradients()["state"][-1] == pytest.approx(float(expected), rel=1e-5)


def test_first_steps_are_those_of_the_optimisers():
    found = PlainNetworks(4, "sigmoid", 1.0).gradients()
    for name in ("sgd", "adam"):
        networks = PlainNetworks(4, "sigmoid", 1.0)
        before = networks.hidden.detach().clone()
        networks.train(name, 1)
        moved = (networks.hidden.detach() - before).double()
        root = lambda values: values.square().mean(dim=(1, 2, 3)).sqrt().numpy()  # noqa: E731
        np.testing.assert_allclose(root(moved) / root(before.double()), found[name], rtol=0.02)
    assert found["adam"][-1] == pytest.approx(RATES["adam"] * WIDTH**0.5, rel=0.1)
    assert abs(float(adam_first_step(1.0, RATES["adam"]))) == pytest.approx(1e-3)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_skips_keep_the_gradient_that_plain_layers_lose(activation):
    plain, skips = (PlainNetworks(10, activation, 0.5, skip=skip).gradients()["state"] for skip in (False, True))
    assert plain[0] < 0.01 * plain[-1]
    assert skips[0] > 0.5 * skips[-1]


def test_training_follows_plain_gradient_descent_with_momentum():
    networks, again = PlainNetworks(2, "tanh", 1.0), PlainNetworks(2, "tanh", 1.0)
    losses = networks.train("sgd", 3)
    velocity = [torch.zeros_like(weight) for weight in again.parameters()]
    for step in range(3):
        loss = again.losses()
        np.testing.assert_allclose(losses[step], loss.detach().numpy(), rtol=1e-5)
        gradients = torch.autograd.grad(loss.sum(), again.parameters())
        for weight, speed, gradient in zip(again.parameters(), velocity, gradients, strict=True):
            with torch.no_grad():
                weight -= 0.1 * speed.mul_(0.9).add_(gradient)
    np.testing.assert_allclose(losses[3], again.losses().detach().numpy(), rtol=1e-5)
    assert losses.shape == (4, SEEDS)
    assert losses.dtype == np.float64


def test_adam_trains_where_sgd_stands_still_and_progress_is_passed_on():
    seen = []

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    sgd, adam = (PlainNetworks(10, "tanh", 0.4).train(name, 250, progress)[-1] for name in ("sgd", "adam"))
    assert np.abs(sgd - np.log(2)).max() < 1e-3
    assert adam.mean() < 0.6
    assert seen == 2 * list(range(250))


def test_rings():
    x, y = rings()
    assert x.shape == (POINTS, 2)
    assert y.tolist() == [0, 1] * (POINTS // 2)
    radius = rings(4000, seed=1)[0].norm(dim=1)
    assert float(radius[0::2].mean()) == pytest.approx(0.51, abs=0.01)
    assert float(radius[1::2].std()) == pytest.approx(0.1, abs=0.01)
    assert torch.equal(rings(10)[0], rings(10, seed=0)[0])
    assert float(rings(4000)[0].mean(dim=0).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PlainNetworks(0), "depth must be an integer >= 1, got 0"),
        (lambda: PlainNetworks(2, "gelu"), "activation must be one of .*, got 'gelu'"),
        (lambda: PlainNetworks(2, gain=0.0), "gain must be a finite number > 0, got 0"),
        (lambda: PlainNetworks(2, gain=np.inf), "gain must be a finite number > 0, got inf"),
        (lambda: PlainNetworks(2).train("adamw", 1), "optimizer must be one of .*, got 'adamw'"),
        (lambda: PlainNetworks(2).train("sgd", -1), "steps must be an integer >= 0, got -1"),
        (lambda: rings(1), "points must be an integer >= 2, got 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
