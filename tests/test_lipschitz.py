"""Critics held to slope 1, against hand-made forward and backward passes, closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from helpers.wgan import (
    MODES,
    clip_weights_,
    difference_quotient,
    generator_direction,
    gradient_norm_affine,
    gradient_normalize,
    gradient_penalty,
    input_gradient,
    local_norm,
    normalized_value,
    r1_penalty,
)

LEAK = 0.2


def network(seed: int = 0, activation: nn.Module | None = None, d: int = 3) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(d, 8), activation or nn.LeakyReLU(LEAK), nn.Linear(8, 8), activation or nn.LeakyReLU(LEAK)]
    net = nn.Sequential(*layers, nn.Linear(8, 1)).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return net


def points(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(net: nn.Sequential, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """D and ∇D of a LeakyReLU network, with NumPy, row by row, as a product of matrices."""
    values, grads = [], []
    for row in x.numpy():
        h, J = row, np.eye(len(row))
        for layer in net:
            if isinstance(layer, nn.Linear):
                W = layer.weight.detach().numpy()
                h, J = W @ h + layer.bias.detach().numpy(), W @ J
            else:
                factor = np.where(h > 0, 1, LEAK)
                h, J = h * factor, factor[:, None] * J
        values.append(h[0])
        grads.append(J[0])
    return np.array(values), np.array(grads)


def same(have: Tensor, due, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    np.testing.assert_allclose(have.detach().numpy(), np.asarray(due), rtol=rtol, atol=atol)


def parameter_gradient(net: nn.Module, loss: Tensor) -> Tensor:
    grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([grad.flatten() for grad in grads])


# --- values and gradients ------------------------------------------------------------------------------


def test_input_gradient_of_a_network():
    net, x = network(), points(50, 3)
    value, grad = input_gradient(net, x)
    due_value, due_grad = by_hand(net, x)
    same(value, due_value)
    same(grad, due_grad)
    assert value.shape == (50,)
    assert grad.shape == x.shape


def test_any_number_of_feature_axes_and_both_output_shapes():
    x = points(4, 2, 3, 5)
    for keepdim in (False, True):
        value, grad = input_gradient(lambda x, keep=keepdim: (x**3).flatten(1).sum(1, keepdim=keep), x)
        same(value, (x**3).sum((1, 2, 3)))
        same(grad, 3 * x**2)
    direction = generator_direction(lambda x: 2 * x.flatten(1).sum(1), x, "plain")
    same(direction, np.full(x.shape, 1 / math.sqrt(30)))


@pytest.mark.parametrize("mode", MODES)
def test_modes_by_hand(mode):
    net, x = network(), points(50, 3)
    D, g = by_hand(net, x)
    n = np.linalg.norm(g, axis=1)
    due = (g * x.numpy()).sum(1) / n if mode == "inner" else normalized_value(D, n, mode, 0.3)
    same(gradient_normalize(net, x, mode, 0.3), due)
    same(local_norm(net, x, mode, 0.3), gradient_norm_affine(D, n, mode, 0.3), rtol=1e-11)
    direction = generator_direction(net, x, mode, 0.3)
    same(direction, g * (gradient_norm_affine(D, n, mode, 0.3) / n)[:, None])
    assert not direction.requires_grad


def test_defaults():
    net, x = network(), points(5, 3)
    same(gradient_normalize(net, x), gradient_normalize(net, x, "gn").detach())
    same(gradient_normalize(net, x, "gran"), gradient_normalize(net, x, "gran", 0.1).detach())
    same(generator_direction(net, x), generator_direction(net, x, "gn"))
    same(generator_direction(net, x, "gran"), generator_direction(net, x, "gran", 0.1))
    same(local_norm(net, x), local_norm(net, x, "raw"))
    same(local_norm(net, x, "gran"), local_norm(net, x, "gran", 0.1))


@pytest.mark.parametrize(("t", "beta"), [(1.0, 2.0), (1.0, 10.0), (1.0, 100.0), (3.0, 50.0)])
def test_smooth_critic_exceeds_norm_one(t, beta):
    """D = t + log 2 - softplus(βx) at 0: D = t, D' = -β/2, D'' = -β²/4. plain 1 + t, gn β²(1 + t)/(β + 2t)²."""
    x = torch.zeros(1, 1, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        return t + math.log(2) - nn.functional.softplus(beta * x)

    n, second, eps = beta / 2, -(beta**2) / 4, 0.1
    gran = abs(n**2 / (n**2 + eps) + t * (eps - n**2) / (n**2 + eps) ** 2 * second)
    inner = 1.0  # -x in a neighbourhood
    due = {"raw": n, "plain": 1 + t, "gn": beta**2 * (1 + t) / (beta + 2 * t) ** 2, "gran": gran, "inner": inner}
    for mode, norm in due.items():
        same(local_norm(critic, x, mode, eps), [norm], rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    net, x = network().to(dtype), points(6, 3).to(dtype)
    results = [
        *(gradient_normalize(net, x, mode) for mode in MODES),
        *(generator_direction(net, x, mode) for mode in MODES),
        *input_gradient(net, x),
        local_norm(net, x, "gn"),
        difference_quotient(net, x, 0.1, torch.Generator().manual_seed(0)),
        gradient_penalty(net, x, x + 1, generator=torch.Generator().manual_seed(0)),
        r1_penalty(net, x),
    ]
    assert {each.dtype for each in results} == {dtype}


# --- graphs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_gradient_by_the_parameters(mode):
    """Oracle: central differences along a random direction of the parameters."""
    net, x = network(activation=nn.Tanh()), points(20, 3)
    direction = [points(*parameter.shape, seed=7) for parameter in net.parameters()]
    have = parameter_gradient(net, gradient_normalize(net, x, mode).sum()) @ torch.cat([d.flatten() for d in direction])
    h, sums = 1e-5, []
    for side in (h, -h):
        for parameter, d in zip(net.parameters(), direction, strict=True):
            parameter.data += side * d
        sums.append(gradient_normalize(net, x, mode).sum().item())
        for parameter, d in zip(net.parameters(), direction, strict=True):
            parameter.data -= side * d
    assert have.item() == pytest.approx((sums[0] - sums[1]) / (2 * h), rel=1e-6)


def test_without_create_graph_the_gradient_is_a_constant_of_the_loss():
    net, x = network(), points(20, 3)
    value, grad = input_gradient(net, x, create_graph=False)
    assert value.requires_grad
    assert not grad.requires_grad
    silent = parameter_gradient(net, gradient_normalize(net, x, "plain", create_graph=False).sum())
    n = torch.tensor(np.linalg.norm(by_hand(net, x)[1], axis=1))
    same(silent, parameter_gradient(net, (net(x)[:, 0] / n).sum()))
    right = parameter_gradient(net, gradient_normalize(net, x, "plain").sum())
    assert (silent - right).norm() > 0.1 * right.norm()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("mode", MODES)
def test_works_where_gradients_are_off(context, mode):
    net, x = network(), points(5, 3)
    due = gradient_normalize(net, x, mode)
    assert due.requires_grad
    with context():
        have = [gradient_normalize(net, points, mode) for points in (x, x.clone(), x.clone().requires_grad_())]
        value, grad = input_gradient(net, x)
        norm = local_norm(net, x, mode)
        penalty = r1_penalty(net, x, 1.0)
    for each in have:
        assert not each.requires_grad
        same(each, due.detach())
    assert not any(each.requires_grad for each in (value, grad, norm, penalty))
    same(norm, local_norm(net, x, mode))


def test_fakes_stay_in_the_graph_of_their_generator():
    net, z = network(), points(10, 3).requires_grad_()
    (through,) = torch.autograd.grad(gradient_normalize(net, 2 * z).sum(), z)
    same(through, 2 * generator_direction(net, 2 * z.detach()))
    _, grad = input_gradient(lambda x: (x**3).sum(1), 2 * z)
    same(torch.autograd.grad(grad.sum(), z)[0], 24 * z.detach())


@pytest.mark.parametrize("mode", MODES)
def test_direction_gives_a_generator_its_gradient_without_second_derivatives(mode):
    """Oracle: autograd through D̂(G(z)), with its second derivatives."""
    net, G, z = network(), nn.Linear(2, 3).double(), points(30, 2)
    due = parameter_gradient(G, -gradient_normalize(net, G(z), mode).mean())
    fake = G(z)
    fake.backward(-generator_direction(net, fake, mode) / len(z))
    same(torch.cat([parameter.grad.flatten() for parameter in G.parameters()]), due, rtol=1e-11)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("shared", [nn.LeakyReLU(LEAK, inplace=True), nn.LeakyReLU(LEAK)])
def test_input_is_never_changed(shared):
    net, x = network(activation=shared), points(5, 3)
    first = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), *net)  # its first layer writes into what it is given
    before = x.clone()
    generator = torch.Generator().manual_seed(0)
    due = gradient_normalize(network(), x).detach()
    for critic in (net, first):
        for mode in MODES:
            gradient_normalize(critic, x, mode).sum().backward()
            generator_direction(critic, x, mode)
        local_norm(critic, x, "gn")
        difference_quotient(critic, x, 0.1, generator)
        gradient_penalty(critic, x, x, generator=generator)
        r1_penalty(critic, x)
        assert torch.equal(x, before)
        assert x.grad is None
        assert not x.requires_grad
    same(gradient_normalize(net, x), due)


def test_gradient_of_gn_is_orthogonal_to_the_last_layer():
    """gn does not see a common factor of the last weights and bias, so that their gradient has no part along them."""
    net, x = network(), points(30, 3)
    gradient_normalize(net, x).mean().backward()
    last = net[-1]
    along = (last.weight * last.weight.grad).sum() + (last.bias * last.bias.grad).sum()
    assert abs(along.item()) < 1e-14
    assert last.weight.grad.norm() > 1e-4
    due = gradient_normalize(net, x).detach()
    last.weight.data *= 1e-6
    last.bias.data *= 1e-6
    same(gradient_normalize(net, x), due, rtol=1e-9)


def test_hinge_loss_of_gn_is_the_wasserstein_loss():
    net, real, fake = network(), points(30, 3), points(30, 3, seed=2) + 1
    p, q = gradient_normalize(net, real).mean(), gradient_normalize(net, fake).mean()
    hinge = (1 - gradient_normalize(net, real)).relu().mean() + (1 + gradient_normalize(net, fake)).relu().mean()
    same(hinge, (2 - p + q).item())
    same(parameter_gradient(net, hinge), parameter_gradient(net, q - p), rtol=1e-10)


# --- where the gradient vanishes -----------------------------------------------------------------------


def dead(bias: float) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-100.0)
        net[2].bias.fill_(bias)
    return net


@pytest.mark.parametrize("bias", [3.0, 0.0, -0.25])
def test_dead_region(bias):
    net, x = dead(bias), torch.zeros(4, 2)
    value = gradient_normalize(net, x, "gn")
    assert value.tolist() == [np.sign(bias)] * 4
    assert parameter_gradient(net, value.sum()).abs().max() == 0
    assert gradient_normalize(net, x, "gran").tolist() == [0.0] * 4
    assert parameter_gradient(net, gradient_normalize(net, x, "gran").sum()).isfinite().all()
    assert gradient_normalize(net, x, "add_eps", 0.5).tolist() == [2 * bias] * 4
    assert gradient_normalize(net, x, "raw").tolist() == [bias] * 4
    for mode in ("gn", "gran", "add_eps", "raw"):
        assert generator_direction(net, x, mode).abs().max() == 0
        assert local_norm(net, x, mode).tolist() == [0.0] * 4


def test_value_zero_is_no_problem_where_the_gradient_lives():
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert gradient_normalize(lambda x: x.sum(1), x).tolist() == [0.0]
    assert local_norm(lambda x: x.sum(1), x, "gn").item() == pytest.approx(1, rel=1e-14)


# --- seeds, batch norm, layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_two_batch_axes_are_networks_side_by_side(mode):
    a = points(4, 1, 3)  # one linear critic for each of four seeds

    def critics(x: Tensor) -> Tensor:
        return (x * a).sum(-1, keepdim=True) + 1

    x, other = points(4, 6, 3, seed=5), points(4, 6, 3, seed=6)
    seeds = [lambda rows, k=k: rows @ a[k, 0] + 1 for k in range(4)]
    for function in (gradient_normalize, generator_direction, local_norm):
        have = function(critics, x, mode, batch_dims=2)
        same(have, np.stack([function(seed, rows, mode).detach().numpy() for seed, rows in zip(seeds, x, strict=True)]))
    generator = torch.Generator().manual_seed(0)
    slopes = a[:, 0].norm(dim=1)
    penalty = gradient_penalty(critics, x, other, 3.0, generator=generator, batch_dims=2)
    same(penalty, 3 * (slopes - 1) ** 2)
    same(r1_penalty(critics, x, 3.0, batch_dims=2), 1.5 * slopes**2)
    assert difference_quotient(critics, x, 0.1, generator, batch_dims=2).shape == (4, 6)


def test_batch_norm_is_refused_unless_it_uses_stored_statistics():
    x = points(6, 3)
    norm = nn.BatchNorm1d(3).double()
    net = nn.Sequential(nn.Sequential(norm), network())
    message = "^critic must not mix the rows of a batch, got a layer BatchNorm1d that does$"
    generator = torch.Generator().manual_seed(0)
    calls = [
        lambda: input_gradient(net, x),
        lambda: local_norm(net, x),
        lambda: r1_penalty(net, x),
        lambda: gradient_penalty(net, x, x, generator=generator),
        *(lambda mode=mode: gradient_normalize(net, x, mode) for mode in MODES),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    net.eval()
    same(gradient_normalize(net, x), gradient_normalize(lambda x: net[1](x / math.sqrt(1 + norm.eps)), x).detach())
    norm.running_mean = norm.running_var = None
    with pytest.raises(ValueError, match=message):
        input_gradient(net, x)


@pytest.mark.parametrize("layer", [nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.5), nn.Tanh(), nn.Softplus()])
def test_direction_refuses_what_is_not_piecewise_linear(layer):
    x = points(3, 3).float()
    net = nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 1))
    with pytest.raises(TypeError, match=f"^critic must be piecewise linear, got a layer {type(layer).__name__}$"):
        generator_direction(net, x)


def test_direction_takes_all_that_is_piecewise_linear():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(torch.ones(8, 8))])

        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(x, x @ self.weights[0])

    net = nn.Sequential(
        *(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 1), nn.PReLU(), nn.MaxPool1d(2), nn.AvgPool1d(1), nn.Flatten()),
        *(parametrizations.spectral_norm(nn.Linear(4, 8)), nn.ReLU(), Own(), nn.ReLU6(), nn.Hardtanh(), nn.Identity()),
        nn.Sequential(),
        nn.Linear(8, 1),
    )
    x = points(5, 4).float()
    assert generator_direction(net, x).shape == x.shape


# --- difference quotients --------------------------------------------------------------------------------


def test_difference_quotient_of_a_linear_function_is_at_most_its_norm():
    w, x = points(4), points(400, 4, seed=2)
    quotient = difference_quotient(lambda x: x @ w, x, 0.01, torch.Generator().manual_seed(0))
    assert quotient.max() <= w.norm() * (1 + 1e-9)
    assert quotient.max() > 0.9 * w.norm()  # 400 directions in four dimensions: misses with probability 1e-6
    assert quotient.min() < 0.05 * w.norm()
    assert not difference_quotient(lambda x: x @ w, x.requires_grad_(), 0.01, torch.Generator()).requires_grad


@pytest.mark.parametrize("radius", [0.01, 3.0])
def test_difference_quotient_steps_by_the_radius(radius):
    seen = []

    def f(x: Tensor) -> Tensor:
        seen.append(x)
        return (x**2).sum((1, 2))

    x = points(50, 2, 3)
    have = difference_quotient(f, x, radius, torch.Generator().manual_seed(3))
    y, base = seen
    assert torch.equal(base, x)
    same((y - x).flatten(1).norm(dim=1), np.full(50, radius), rtol=1e-12)
    same(have, (((y**2).sum((1, 2)) - (x**2).sum((1, 2))).abs() / radius).numpy(), rtol=1e-9)
    again = difference_quotient(f, x, radius, torch.Generator().manual_seed(3))
    assert torch.equal(have, again)
    assert not torch.equal(have, difference_quotient(f, x, radius, torch.Generator().manual_seed(4)))


def test_difference_quotient_sees_the_jump_that_autograd_does_not():
    """D = 0.8 + x + 1.5 relu(x - 0.3): plain jumps by 0.66 at 0.3."""
    x = torch.full((200, 1), 0.3, dtype=torch.float64)
    x[:100] += 1e-7
    x[100:] -= 1e-7
    f = lambda x: gradient_normalize(lambda x: 0.8 + x + 1.5 * (x - 0.3).relu(), x, "plain")  # noqa: E731
    assert local_norm(f, x).max().item() == pytest.approx(1, rel=1e-12)
    for radius in (1e-2, 1e-4):
        quotient = difference_quotient(f, x, radius, torch.Generator().manual_seed(0))
        assert quotient.max().item() == pytest.approx(0.66 / radius, rel=0.02)


def test_short_steps_far_out_are_measured_after_rounding():
    x = torch.full((100, 1), 1e4)
    quotient = difference_quotient(lambda x: 2 * x, x, 1e-3, torch.Generator().manual_seed(0))  # spacing there: 0.00098
    assert quotient.tolist() == [2.0] * 100
    with pytest.raises(ValueError, match=r"^radius must not round to 0 against x, got 0.0001 in torch.float32$"):
        difference_quotient(lambda x: 2 * x, x, 1e-4, torch.Generator().manual_seed(0))


# --- penalties -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic(one_sided, slope):
    a = torch.tensor(slope, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: a * x[:, 0], points(8, 2), points(8, 2), 2.0, one_sided, generator=torch.Generator()
    )
    excess = max(slope - 1, 0) if one_sided else slope - 1
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(2 * excess**2, rel=1e-13)
    (grad,) = torch.autograd.grad(penalty, a)
    assert grad.item() == pytest.approx(4 * excess, rel=1e-13)


def test_penalty_is_taken_between_the_samples():
    """D = |x|²/2 has gradient x, from which the points can be read."""
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return (x**2).sum(1) / 2

    real, fake = points(500, 3), points(500, 3, seed=2) + 4
    penalty = gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(0))
    same(penalty, (10 * (seen[0].norm(dim=1) - 1) ** 2).mean())
    alpha = (seen[0] - fake) / (real - fake)
    same(alpha, alpha[:, :1].expand(-1, 3), rtol=1e-9)  # one for each row
    assert 0 <= alpha.min() < 0.02
    assert 0.98 < alpha.max() <= 1
    assert abs(alpha[:, 0].mean() - 0.5) < 0.06  # 4.6 standard errors
    due = torch.rand(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    same(alpha[:, :1], due, rtol=1e-9, atol=1e-12)  # the share of real, drawn from the generator that was passed in


def test_penalties_take_the_samples_as_constants():
    net, real = network(), points(5, 3).requires_grad_()
    fake = points(5, 3, seed=2).requires_grad_()
    (gradient_penalty(net, real, fake, generator=torch.Generator()) + r1_penalty(net, real)).backward()
    assert real.grad is fake.grad is None
    assert net[0].weight.grad.abs().max() > 0


def test_r1_is_half_the_weight_times_the_mean_square():
    x = points(7, 2, 2)
    penalty = r1_penalty(lambda x: (x**2).sum((1, 2)), x, 3.0)
    assert penalty.shape == ()
    same(penalty, 1.5 * (4 * x**2).sum((1, 2)).mean())
    same(r1_penalty(lambda x: x.sum((1, 2)), x), 5 * 4.0)
    assert r1_penalty(lambda x: x.sum((1, 2)), x, 0).item() == 0


def test_clipping_is_in_place_on_every_parameter():
    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    identities = [id(parameter) for parameter in net.parameters()]
    assert clip_weights_(net, 0.25) is None
    for parameter, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(parameter, old.clamp(-0.25, 0.25))
    assert [id(parameter) for parameter in net.parameters()] == identities
    assert all(parameter.requires_grad and parameter.grad_fn is None for parameter in net.parameters())
