"""Seed-batched networks, critics of every scheme, and their training, replayed by hand with NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from helpers import gan
from helpers.gan import generated, train_critic, train_gan
from helpers.gan_critics import SCHEMES, STRENGTH, Critic, critic_loss, generator_loss, make_critic
from helpers.gan_evaluation import judge_critic
from helpers.gan_networks import MaxMin, SeedBatchedMLP, project_orthogonal_, tangent_gradients_
from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS

DOUBLE = {"dtype": torch.float64}
RING, OCTAGON = CRITIC_TASKS["ring"], GAN_TASKS["8 Gaussians"]


def points(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


class TestNetworks:
    FUNCTIONS = (
        ("leaky_relu", lambda z: np.where(z > 0, z, 0.2 * z)),
        ("relu", lambda z: np.maximum(z, 0)),
        ("tanh", np.tanh),
        ("maxmin", lambda z: -np.sort(-z.reshape(*z.shape[:-1], -1, 2), axis=-1).reshape(z.shape)),
    )

    @pytest.mark.parametrize(("name", "function"), FUNCTIONS)
    @pytest.mark.parametrize(("bias", "output"), [(True, None), (False, "tanh")])
    def test_outputs_against_numpy(self, name, function, bias, output):
        net = SeedBatchedMLP([0, 4], 3, [6, 8], 2, name, bias, output=output, **DOUBLE)
        x = points(2, 5, 3)
        assert len(net.biases) == 3 * bias
        for k in (0, 1):
            h = x[k].numpy()
            for layer, W in enumerate(net.weights):
                h = h @ W[k].detach().numpy() + (net.biases[layer][k].detach().numpy() if bias else 0)
                h = function(h) if layer < 2 else h
            expected = np.tanh(h) if output else h
            np.testing.assert_allclose(net(x)[k].detach(), expected, rtol=1e-12)
            single = net.single(k)
            np.testing.assert_allclose(single(x[k]), expected, rtol=1e-12)
            assert not any(p.requires_grad for p in single.parameters())
            assert sum(isinstance(layer, nn.Linear) for layer in single) == 3
            assert len(single) == 5 + bool(output)

    def test_the_start_is_that_of_linear_layers(self):
        net = SeedBatchedMLP([0, 1], 4, [400], 100)
        assert net.widths == [4, 400, 100]
        assert [tuple(p.shape) for p in (*net.weights, *net.biases)] == [
            (2, 4, 400), (2, 400, 100), (2, 1, 400), (2, 1, 100),
        ]  # fmt: skip
        for parameters, inputs in ((net.weights, (4, 400)), (net.biases, (4, 400))):
            for parameter, m in zip(parameters, inputs, strict=True):
                assert parameter.dtype == torch.float32
                bound = 1 / math.sqrt(m)
                assert 0.95 * bound < parameter.max() <= bound
                assert -bound <= parameter.min() < -0.95 * bound
                assert float(parameter.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)

    def test_a_seed_is_what_it_is_alone_and_keys_differ(self):
        both, alone, other = (
            SeedBatchedMLP(seeds, 2, [4], 1, key=key) for seeds, key in (([0, 5], 0), ([5], 0), ([5], 1))
        )
        for a, b, c in zip(both.parameters(), alone.parameters(), other.parameters(), strict=True):
            assert torch.equal(a[1:], b)
            assert not torch.allclose(a[0], a[1])
            assert not torch.allclose(b, c)

    def test_a_single_network_is_a_copy(self):
        net = SeedBatchedMLP([0], 2, [4], 1)
        single = net.single(0)
        for parameter in single.parameters():
            parameter.add_(1)
        again = net.single(0)
        for changed, kept in zip(single.parameters(), again.parameters(), strict=True):
            torch.testing.assert_close(changed, kept + 1)

    def test_spectral_weights_have_norm_one(self):
        net = SeedBatchedMLP([0, 1], 3, [6, 4], 1, spectral=True, **DOUBLE)
        for W, V in zip(net.effective_weights(), net.weights, strict=True):
            for k in (0, 1):
                w, v = W[k].detach().numpy(), V[k].detach().numpy()
                np.testing.assert_allclose(w, v / np.linalg.svd(v, compute_uv=False)[0], rtol=1e-12)
        x = points(2, 5, 3)
        np.testing.assert_allclose(net(x)[1].detach(), net.single(1)(x[1]), rtol=1e-12)
        plain = SeedBatchedMLP([0, 1], 3, [6, 4], 1, **DOUBLE)
        assert all(a is b for a, b in zip(plain.effective_weights(), plain.weights, strict=True))
        assert not torch.allclose(net(x), plain(x))

    def test_projection_is_the_polar_factor(self):
        weights = [points(2, 5, 5), points(2, 2, 6, seed=1), points(2, 6, 1, seed=2)]
        expected = [np.stack([linalg.polar(w.numpy())[0] for w in W]) for W in weights]
        project_orthogonal_(weights)
        for W, P in zip(weights, expected, strict=True):
            np.testing.assert_allclose(W, P, atol=1e-12)

    def test_tangent_gradients_leave_singular_values_alone(self):
        """To first order a step along the gradient keeps W'W = I (or WW' = I), and what is tangent already stays."""
        for shape in ((2, 6, 4), (2, 3, 5), (2, 4, 4)):
            W = points(*shape)
            project_orthogonal_([W])
            W.requires_grad_().grad = points(*shape, seed=1)
            G = W.grad.clone()
            tangent_gradients_([W])
            T, Q = W.grad.numpy(), W.detach().numpy()
            for t, q in zip(T, Q, strict=True):
                change = q.T @ t + t.T @ q if shape[1] >= shape[2] else q @ t.T + t @ q.T
                np.testing.assert_allclose(change, 0, atol=1e-12)
            assert float((G - W.grad).norm()) > 0.1
            removed = ((G - W.grad) * W.grad).sum((1, 2))  # at right angles to what is left
            np.testing.assert_allclose(removed, 0, atol=1e-12)
            again = W.grad.clone()
            tangent_gradients_([W])
            torch.testing.assert_close(W.grad, again)

    def test_maxmin_keeps_gradient_norms(self):
        x = points(7, 6).requires_grad_()
        up = points(7, 6, seed=1)
        (down,) = torch.autograd.grad(MaxMin()(x), x, up)
        torch.testing.assert_close(down.norm(dim=1), up.norm(dim=1))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seeds": []}, r"seeds must be different and at least one, got \[\]"),
            ({"seeds": [2, 2]}, r"seeds must be different and at least one, got \[2, 2\]"),
            ({"seeds": [-1]}, "seeds must be an integer >= 0, got -1"),
            ({"d_in": 0}, "d_in must be an integer >= 1, got 0"),
            ({"d_out": 0}, "d_out must be an integer >= 1, got 0"),
            ({"hidden": [0]}, "hidden must be an integer >= 1, got 0"),
            ({"activation": "gelu"}, "activation must be one of .*'maxmin'.*, got 'gelu'"),
            ({"activation": "maxmin", "hidden": [4, 3]}, r"hidden must hold even widths for maxmin, got \[4, 3\]"),
            ({"key": -1}, "key must be an integer >= 0, got -1"),
            ({"output": "relu"}, "output must be one of .*, got 'relu'"),
            ({"dtype": torch.float16}, "dtype must be one of .*, got torch.float16"),
        ],
    )
    def test_bad_input(self, changes, message):
        with pytest.raises(ValueError, match=message):
            SeedBatchedMLP(**({"seeds": [0], "d_in": 2, "hidden": [4], "d_out": 1} | changes))

    @pytest.mark.parametrize("shape", [(5, 2), (1, 5, 2), (2, 5, 3), (2, 5, 2, 2)])
    def test_bad_shape(self, shape):
        with pytest.raises(ValueError, match=r"x must have shape \(2, n, 2\): seeds, rows, inputs; got \("):
            SeedBatchedMLP([0, 1], 2, [4], 1)(torch.zeros(shape))


def value_and_slope(critic, k, x):
    """D [n] and ∇D [n, d] of the k-th seed, by autograd on the network taken out."""
    leaf = x.clone().requires_grad_()
    value = critic.network.single(k)(leaf)[:, 0]
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


class TestCritics:
    FORMS = (
        ("GN", lambda D, g, x: D / (g.norm(dim=1) + D.abs())),
        ("GraN", lambda D, g, x: D * g.norm(dim=1) / (g.square().sum(1) + 0.1)),
        ("plain", lambda D, g, x: D / g.norm(dim=1)),
        ("inner", lambda D, g, x: (g * x).sum(1) / g.norm(dim=1)),
        *((scheme, lambda D, g, x: D) for scheme in SCHEMES if scheme not in ("GN", "GraN", "plain", "inner")),
    )

    @pytest.mark.parametrize(("scheme", "form"), FORMS)
    def test_values(self, scheme, form):
        critic, x = make_critic([3, 1], 2, scheme, hidden=[8, 8], **DOUBLE), points(2, 6, 2)
        for k in (0, 1):
            torch.testing.assert_close(critic(x)[k].detach(), form(*value_and_slope(critic, k, x[k]), x[k]))
        with torch.no_grad():
            torch.testing.assert_close(critic(x), critic(x).detach())
            assert not critic(x).requires_grad
        assert critic(x).requires_grad

    def test_strengths(self):
        for scheme in SCHEMES:
            assert make_critic([0], 1, scheme).strength == STRENGTH.get(scheme)
        assert make_critic([0], 1, "GP", 3).strength == 3.0
        x = points(1, 4, 2)
        weak, strong = (make_critic([0], 2, "GraN", eps, [4], **DOUBLE)(x) for eps in (1e-9, 1e3))
        torch.testing.assert_close(weak, make_critic([0], 2, "plain", hidden=[4], **DOUBLE)(x), rtol=1e-4, atol=1e-6)
        assert (strong.abs() < 1e-2).all()

    def test_starts_within_the_set_of_the_scheme(self):
        clipped = make_critic([0], 2, "clipping", 0.05).network
        assert max(float(p.detach().abs().max()) for p in clipped.parameters()) == pytest.approx(0.05)
        orthogonal = make_critic([0, 1], 2, "orthogonal", **DOUBLE).network
        for W in orthogonal.weights:
            np.testing.assert_allclose(np.linalg.svd(W.detach().numpy(), compute_uv=False), 1, rtol=1e-12)
        assert isinstance(orthogonal.activation, MaxMin)
        assert make_critic([0], 2, "spectral norm").network.spectral
        plain = make_critic([0], 2, "GN").network
        assert not plain.spectral
        assert isinstance(plain.activation, nn.LeakyReLU)
        assert plain.activation.negative_slope == 0.2
        assert plain.widths == [2, 64, 64, 1]
        assert plain.weights[0].dtype == torch.float32
        assert not make_critic([0], 2, "GN", bias=False).network.biases

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"scheme": "WGAN"}, "scheme must be one of .*, got 'WGAN'"),
            ({"strength": 1.0}, "strength must be None for 'GN', which has no such number, got 1.0"),
            ({"scheme": "GP", "strength": 0}, "strength must be a finite number > 0, got 0"),
            ({"scheme": "GP", "strength": math.inf}, "strength must be a finite number > 0, got inf"),
            ({"dimension": 0}, "d_in must be an integer >= 1, got 0"),
        ],
    )
    def test_bad_input(self, changes, message):
        with pytest.raises(ValueError, match=message):
            make_critic(**({"seeds": [0], "dimension": 2, "scheme": "GN"} | changes))


class TestLosses:
    @pytest.mark.parametrize("scheme", ["none", "GP", "one-sided GP", "R1", "GN"])
    @pytest.mark.parametrize("loss", ["Wasserstein", "logistic"])
    def test_critic_and_generator(self, scheme, loss):
        strength = 3.0 if scheme in STRENGTH else None
        critic = make_critic([0, 7], 2, scheme, strength, [8], **DOUBLE)
        for W in critic.network.weights:
            W.data *= 2  # slopes on both sides of 1
        real, fake, share = points(2, 40, 2), points(2, 40, 2, seed=1), points(2, 40, 1, seed=2).sigmoid()
        found, of_generator = critic_loss(critic, real, fake, share, loss), generator_loss(critic, fake, loss)
        for k in (0, 1):
            p, q = critic(real)[k].detach().numpy(), critic(fake)[k].detach().numpy()
            expected, pushed = q.mean() - p.mean(), -q.mean()
            if loss == "logistic":
                expected = np.logaddexp(0, -p).mean() + np.logaddexp(0, q).mean()
                pushed = np.logaddexp(0, -q).mean()
            mixed = real[k] + share[k] * (fake[k] - real[k])
            norms = [value_and_slope(critic, k, x)[1].norm(dim=1).numpy() for x in (mixed, real[k])]
            assert norms[0].min() < 1 < norms[0].max()
            excess = norms[0] - 1
            expected += {
                "GP": 3 * np.mean(excess**2),
                "one-sided GP": 3 * np.mean(np.maximum(excess, 0) ** 2),
                "R1": 1.5 * np.mean(norms[1] ** 2),
            }.get(scheme, 0)
            assert float(found[k].detach()) == pytest.approx(expected, rel=1e-10)
            assert float(of_generator[k].detach()) == pytest.approx(pushed, rel=1e-10)

    @pytest.mark.parametrize("scheme", ["GP", "GN", "R1", "spectral norm"])
    def test_seeds_do_not_mix(self, scheme):
        real, fake, share = points(2, 9, 2), points(2, 9, 2, seed=1), points(2, 9, 1, seed=2).sigmoid()
        both, alone = (make_critic(seeds, 2, scheme, hidden=[4], **DOUBLE) for seeds in ([0, 5], [5]))
        critic_loss(both, real, fake, share).sum().backward()
        critic_loss(alone, real[1:], fake[1:], share[1:]).sum().backward()
        for a, b in zip(both.network.parameters(), alone.network.parameters(), strict=True):
            torch.testing.assert_close(a.grad[1:], b.grad)

    def test_unknown_loss(self):
        critic, x = make_critic([0], 2, "GN"), torch.zeros(1, 3, 2)
        with pytest.raises(ValueError, match=r"loss must be one of .*, got 'hinge'"):
            critic_loss(critic, x, x, x[:, :, :1], "hinge")
        with pytest.raises(ValueError, match=r"loss must be one of .*, got 'hinge'"):
            generator_loss(critic, x, "hinge")


class Adam:
    """Kingma and Ba (2015), algorithm 1, with β = (0.5, 0.9) and ε = 1e-8."""

    def __init__(self, rate, *parameters):
        self.rate, self.parameters, self.t = rate, parameters, 0
        self.m, self.v = ([np.zeros_like(p) for p in parameters] for _ in range(2))

    def step(self, *gradients):
        self.t += 1
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m += 0.5 * (g - m)
            v += 0.1 * (g * g - v)
            p -= self.rate * m / (1 - 0.5**self.t) / (np.sqrt(v / (1 - 0.9**self.t)) + 1e-8)


def linear(net, k=0):
    return net.weights[0][k].detach().numpy().copy(), net.biases[0][k].detach().numpy().copy()


class TestTrainingOfCritics:
    """A critic without hidden layers is D = ⟨w, x⟩ + b: losses and gradients in closed form."""

    def replay(self, seed, steps, weight=10.0):
        w, b = linear(make_critic([seed], 2, "GP", hidden=(), **DOUBLE).network)
        adam, rng, losses = Adam(0.01, w, b), np.random.default_rng([seed, 2]), []
        for _ in range(steps):
            real, fake = RING.sample_p(16, rng), RING.sample_q(16, rng)
            rng.random((16, 1))
            shift, norm = (fake.mean(axis=0) - real.mean(axis=0))[:, None], np.linalg.norm(w)
            losses.append((shift * w).sum() + weight * (norm - 1) ** 2)
            adam.step(shift + 2 * weight * (norm - 1) * w / norm, 0 * b)
        return w, b, losses

    def train(self, scheme="GP", steps=5, seeds=(0, 4), **changes):
        options = {"hidden": (), "batch_size": 16, "learning_rate": 0.01} | DOUBLE | changes
        return train_critic(RING, scheme, steps, seeds, **options)

    def test_every_step_against_adam_by_hand(self):
        run = self.train(snapshots=[3])
        assert run.losses.shape == (5, 2)
        assert run.losses.dtype == torch.float64
        for k, seed in enumerate((0, 4)):
            for critic, steps in ((run.critic, 5), (run.snapshots[3], 3)):
                w, b, losses = self.replay(seed, steps)
                np.testing.assert_allclose(critic.network.weights[0][k].detach(), w, rtol=1e-9)
                np.testing.assert_allclose(critic.network.biases[0][k].detach(), b, rtol=1e-9)
                np.testing.assert_allclose(run.losses[:steps, k], losses, rtol=1e-9)
        assert not any(p.requires_grad for p in run.critic.network.parameters())

    def test_snapshots_are_copies_of_then(self):
        run = self.train("GN", 3, hidden=[4], snapshots=(0, 3))
        assert sorted(run.snapshots) == [0, 3]
        start = make_critic([0, 4], 2, "GN", hidden=[4], **DOUBLE)
        for step, critic in ((0, start), (3, run.critic)):
            assert run.snapshots[step].scheme == "GN"
            for a, b in zip(run.snapshots[step].network.parameters(), critic.network.parameters(), strict=True):
                assert torch.equal(a, b)
                assert a is not b
        assert not self.train(steps=2).snapshots

    @pytest.mark.parametrize("scheme", ["GraN", "orthogonal", "spectral norm", "one-sided GP"])
    def test_a_seed_trains_as_it_would_alone(self, scheme):
        both, alone = (self.train(scheme, 4, seeds, hidden=[4]) for seeds in ([0, 4], [4]))
        torch.testing.assert_close(both.losses[:, 1:], alone.losses)
        for a, b in zip(both.critic.network.parameters(), alone.critic.network.parameters(), strict=True):
            torch.testing.assert_close(a[1:], b)

    def test_constraints_hold_after_every_update(self):
        run = self.train("clipping", 4, hidden=[4], strength=0.02, learning_rate=0.1)
        assert max(float(p.abs().max()) for p in run.critic.network.parameters()) == pytest.approx(0.02)
        run = self.train("orthogonal", 4, hidden=[4], learning_rate=0.1)
        for W in run.critic.network.weights:
            np.testing.assert_allclose(np.linalg.svd(W.numpy(), compute_uv=False), 1, rtol=1e-12)
        biases = self.train("orthogonal", 0, hidden=[4]).critic.network.biases
        assert not torch.allclose(run.critic.network.biases[0], biases[0])

    def test_adam_is_given_tangent_gradients_of_orthogonal_weights_alone(self, monkeypatch):
        given = []
        monkeypatch.setattr(gan, "tangent_gradients_", given.append)
        run = self.train("orthogonal", 2, hidden=[4])
        assert given == [run.critic.network.weights] * 2
        self.train("clipping", 2, hidden=[4])
        assert len(given) == 2

    def test_defaults_and_progress(self, monkeypatch):
        sizes, seen = set(), []
        task = RING._replace(sample_p=lambda n, rng: sizes.add(n) or RING.sample_p(n, rng))
        run = train_critic(task, "GN", 2, [1], progress=lambda steps: seen.append(steps) or steps)
        assert (sizes, seen, run.losses.dtype) == ({256}, [range(2)], torch.float32)
        assert run.critic.network.widths == [2, 64, 64, 1]
        slow = train_critic(RING, "GN", 2, [1], learning_rate=1e-3)
        assert torch.equal(run.losses, slow.losses)

    def test_it_learns_and_penalties_overshoot_as_predicted(self):
        """Article's dual: the best slope of a penalised critic on a translation by W is 1 + W/(2λ)."""
        task = CRITIC_TASKS["shift 1"]
        run = train_critic(task, "one-sided GP", 150, [0, 1], hidden=[16], batch_size=128, learning_rate=0.01)
        found = judge_critic(run.critic, task, 2000)
        np.testing.assert_allclose(found["ratio"], 1.05, atol=0.12)
        run = train_critic(task, "orthogonal", 150, [0, 1], hidden=[16], batch_size=128, learning_rate=0.01)
        found = judge_critic(run.critic, task, 2000)
        assert (found["ratio"] > 0.85).all()
        assert found["largest_norm"].max() < 1 + 1e-6
        assert found["largest_quotient"].max() < 1 + 1e-5

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"steps": -1}, "steps must be an integer >= 0, got -1"),
            ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
            ({"learning_rate": 0}, "learning_rate must be a finite number > 0, got 0"),
            ({"learning_rate": math.inf}, "learning_rate must be a finite number > 0, got inf"),
            ({"snapshots": [0, 6]}, r"snapshots must be at most steps \(5\), got 6"),
            ({"snapshots": [-1]}, "snapshots must be an integer >= 0, got -1"),
            ({"scheme": "WGAN"}, "scheme must be one of"),
        ],
    )
    def test_bad_input(self, changes, message):
        with pytest.raises(ValueError, match=message):
            self.train(**changes)


class TestTrainingOfGenerators:
    def replay(self, seed, steps, critic_steps=2):
        """Linear generator x = zA + c against a linear critic with GP: everything in closed form."""
        w, b = linear(make_critic([seed], 2, "GP", hidden=(), **DOUBLE).network)
        A, c = linear(SeedBatchedMLP([seed], 3, (), 2, "relu", key=1, **DOUBLE))
        critic, generator = Adam(0.01, w, b), Adam(0.01, A, c)
        rng, losses = np.random.default_rng([seed, 2]), []
        for _ in range(steps):
            for _ in range(critic_steps):
                real, fake = OCTAGON.sample(8, rng), rng.standard_normal((8, 3)) @ A + c
                rng.random((8, 1))
                shift, norm = (fake.mean(axis=0) - real.mean(axis=0))[:, None], np.linalg.norm(w)
                loss = (shift * w).sum() + 2 * (norm - 1) ** 2
                critic.step(shift + 4 * (norm - 1) * w / norm, 0 * b)
            losses.append(loss)
            z = rng.standard_normal((8, 3))
            generator.step(-z.mean(axis=0)[:, None] @ w.T, -w.T)
        return w, A, c, losses

    def train(self, scheme="GP", steps=3, seeds=(0, 4), **changes):
        options = {"hidden": (), "batch_size": 8, "learning_rate": 0.01, "latent": 3, "critic_steps": 2}
        strength = {"strength": 2.0} if scheme == "GP" else {}
        return train_gan(OCTAGON, scheme, steps, seeds, **(options | DOUBLE | strength | changes))

    def test_every_step_against_adam_by_hand(self):
        run = self.train(snapshots=[2])
        assert run.losses.shape == (3, 2)
        for k, seed in enumerate((0, 4)):
            for (generator, critic), steps in ((run[:2], 3), (run.snapshots[2], 2)):
                w, A, c, losses = self.replay(seed, steps)
                np.testing.assert_allclose(critic.network.weights[0][k].detach(), w, rtol=1e-9)
                np.testing.assert_allclose(generator.weights[0][k].detach(), A, rtol=1e-9)
                np.testing.assert_allclose(generator.biases[0][k].detach(), c, rtol=1e-9)
                np.testing.assert_allclose(run.losses[:steps, k], losses, rtol=1e-9)
        for network in (run.generator, run.critic.network):
            assert not any(p.requires_grad for p in network.parameters())

    @pytest.mark.parametrize("scheme", ["GN", "GraN"])
    def test_the_generator_sees_the_normalised_critic(self, scheme):
        """First update of Adam is -rate·sign(gradient); the gradient of the generator by finite differences."""
        before, after = (self.train(scheme, steps, [0], hidden=[6]) for steps in (0, 1))
        c, moved = (run.generator.biases[-1][0, 0] for run in (before, after))
        rng = np.random.default_rng([0, 2])
        for _ in range(2):
            OCTAGON.sample(8, rng), rng.standard_normal((8, 3)), rng.random((8, 1))
        z = torch.from_numpy(rng.standard_normal((1, 8, 3)))
        for k in range(2):
            values = []
            for sign in (1, -1):
                net = self.train(scheme, 0, [0], hidden=[6]).generator
                net.biases[-1][0, 0, k] += sign * 1e-6
                with torch.no_grad():
                    values.append(float(after.critic(net(z)).mean()))
            slope = (values[0] - values[1]) / 2e-6
            assert float(moved[k] - c[k]) == pytest.approx(0.01 * np.sign(slope), rel=1e-4)

    def test_form_of_the_critic_in_the_generators_step(self, monkeypatch):
        seen = []
        original = gan.generator_loss
        monkeypatch.setattr(
            gan, "generator_loss", lambda c, *rest: seen.append((c.scheme, c.strength)) or original(c, *rest)
        )
        for scheme, of_generator in itertools.product(("GP", "GN"), (None, "none", "GraN")):
            self.train(scheme, 1, generator_scheme=of_generator)
        assert seen == [
            ("GP", 2.0), ("none", None), ("GraN", 0.1), ("GN", None), ("none", None), ("GraN", 0.1),
        ]  # fmt: skip
        with pytest.raises(ValueError, match=r"generator_scheme must be one of .*'inner'.*, got 'GP'"):
            self.train(generator_scheme="GP")

    @pytest.mark.parametrize("loss", ["Wasserstein", "logistic"])
    def test_losses_of_both_are_those_asked_for(self, loss, monkeypatch):
        asked = []
        for name in ("critic_loss", "generator_loss"):
            original = getattr(gan, name)
            wrap = lambda *given, original=original: asked.append(given[-1]) or original(*given)  # noqa: E731
            monkeypatch.setattr(gan, name, wrap)
        self.train("GN", 1, loss=loss)
        assert asked == [loss] * 3

    def test_unknown_loss(self):
        with pytest.raises(ValueError, match=r"loss must be one of .*, got 'hinge'"):
            self.train(loss="hinge")

    def test_shapes_of_the_networks(self):
        run = train_gan(OCTAGON, "GN", 1, [2], hidden=(6, 4), bias=False, output="tanh", snapshots=[0, 1])
        assert run.generator.widths == [4, 6, 4, 2]
        assert run.critic.network.widths == [2, 6, 4, 1]
        assert isinstance(run.generator.activation, nn.ReLU)
        assert (len(run.generator.biases), len(run.critic.network.biases)) == (3, 0)
        assert generated(run.generator, 50).abs().max() < 1
        assert sorted(run.snapshots) == [0, 1]
        for a, b in zip(run.snapshots[1][0].parameters(), run.generator.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b
        start = train_gan(OCTAGON, "GN", 0, [2], hidden=(6, 4))
        assert start.losses.shape == (0, 1)
        assert torch.equal(start.generator.weights[0], run.snapshots[0][0].weights[0])
        assert len(start.critic.network.biases) == 3
        assert start.losses.dtype == torch.float32

    def test_defaults_and_progress(self):
        sizes, seen = [], []
        task = OCTAGON._replace(draw=lambda n, rng: sizes.append(n) or OCTAGON.draw(n, rng))
        run = train_gan(task, "GP", 2, [0], progress=lambda steps: seen.append(steps) or steps)
        assert sizes == [128] * 10
        assert seen == [range(2)]
        assert run.generator.widths == [4, 64, 64, 2]
        again = train_gan(
            OCTAGON, "GP", 2, [0], loss="Wasserstein", strength=10, critic_steps=5, learning_rate=1e-3, latent=4
        )
        assert torch.equal(run.losses, again.losses)
        assert torch.equal(run.generator.weights[0], again.generator.weights[0])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"critic_steps": 0}, "critic_steps must be an integer >= 1, got 0"),
            ({"latent": 0}, "d_in must be an integer >= 1, got 0"),
            ({"steps": 0.5}, "steps must be an integer >= 0, got 0.5"),
            ({"snapshots": [4]}, r"snapshots must be at most steps \(3\), got 4"),
            ({"output": "sigmoid"}, "output must be one of"),
        ],
    )
    def test_bad_input(self, changes, message):
        with pytest.raises(ValueError, match=message):
            self.train(**changes)

    def test_generated_points_share_their_noise(self):
        generator = SeedBatchedMLP([0, 3], 4, [5], 2, "relu", **DOUBLE)
        z = torch.from_numpy(np.random.default_rng([7, 4]).standard_normal((6, 4)))
        found = generated(generator, 6, seed=7)
        for k in (0, 1):
            torch.testing.assert_close(found[k], generator.single(k)(z))
        assert not found.requires_grad
        assert torch.equal(generated(generator, 6), generated(generator, 6, 0))
        with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
            generated(generator, 0)
        with pytest.raises(ValueError, match="seed must be an integer >= 0, got -1"):
            generated(generator, 1, -1)


def test_a_critic_is_a_scheme_on_a_network():
    network = SeedBatchedMLP([0], 2, [4], 1, **DOUBLE)
    x = points(1, 5, 2)
    torch.testing.assert_close(Critic(network, "none", None)(x), network(x)[:, :, 0])
