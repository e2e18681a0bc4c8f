"""Contrastive training against plain torch code, one seed and one step at a time; views against loops in NumPy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import contrastive, contrastive_training
from helpers.contrastive_evaluation import encoder_accuracies
from helpers.contrastive_training import (
    LAYERS,
    LOSSES,
    augment,
    train_encoders,
    train_three_vectors,
    two_view_augment,
)
from helpers.lab import data

DOUBLE = torch.float64


@pytest.fixture(scope="module")
def digits():
    """Images in 0..1 and labels: 300 to train on, 200 to test."""
    images, labels = data.interleaved(*data.load("digits"), seed=0)
    images = torch.tensor(images / 16)
    return images[:300], labels[:300], images[300:500], labels[300:500]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- views


def moved_by_hand(image: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The view of an image [64] from 70 numbers in -1..1, pixel by pixel: bilinear, zero outside."""
    picture, view = image.reshape(8, 8), np.empty(64)
    turn = 0.35 * u[0]
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = (1 + 0.2 * u[2]) * rotation @ np.array([[1, 0.3 * u[1]], [0, 1]])
    for k in range(64):
        row, column = divmod(k, 8)
        x, y = linear @ [(column + 0.5) / 4 - 1, (row + 0.5) / 4 - 1] + [0.3 * u[3], 0.3 * u[4]]
        x, y = (x + 1) * 4 - 0.5, (y + 1) * 4 - 0.5  # back from -1..1 over the picture to pixels
        total = 0.0
        for i in (math.floor(y), math.floor(y) + 1):
            for j in (math.floor(x), math.floor(x) + 1):
                if 0 <= i < 8 and 0 <= j < 8:
                    total += picture[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
        view[k] = (1 + 0.2 * u[5]) * total + math.sqrt(3) * 0.05 * u[6 + k]
    return view


@pytest.mark.parametrize("options", [{}, {"strength": 0.4}, {"strength": 1.7}])
def test_a_view_is_what_a_loop_over_the_pixels_makes(digits, options):
    images = digits[0][:6].view(2, 3, 64)
    views = augment(images, generator(1), **options)
    draws = 2 * torch.rand(6, 70, generator=generator(1)).double().numpy() - 1
    draws *= options.get("strength", 1.0)
    by_hand = [moved_by_hand(x, u) for x, u in zip(images.view(6, 64).numpy(), draws, strict=True)]
    assert views.shape == (2, 3, 64)
    np.testing.assert_allclose(views.view(6, 64).numpy(), by_hand, rtol=0, atol=1e-12)


def test_noise_has_the_stated_deviation():
    view = augment(torch.zeros(2000, 64), generator(0))
    assert view.std().item() == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_strength_zero_gives_the_images_back(digits, dtype):
    images = digits[0].to(dtype)
    assert torch.equal(augment(images, generator(0), 0), images)


def test_the_generator_alone_makes_the_view(digits):
    images, source = digits[0], generator(5)
    first, second = augment(images, source), augment(images, source)
    assert torch.equal(first, augment(images, generator(5)))
    assert not torch.allclose(first, second, atol=0.01)
    both = augment(torch.cat([images, images]), generator(5))
    assert torch.equal(both, torch.cat([first, second]))  # the numbers are used image by image


def test_two_views_are_rows_i_and_n_plus_i(digits):
    images = digits[0][:6].view(2, 3, 64)
    twice = torch.cat([images, images], dim=1)
    assert torch.equal(two_view_augment(images, generator(0), 0), twice)
    assert torch.equal(two_view_augment(images, generator(3)), augment(twice, generator(3), 1.0))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 64)), "x must be a tensor of dtype float32 or float64, got float64"),
        ([0.0] * 64, "x must be a tensor of dtype float32 or float64, got list"),
        (torch.zeros(2, 64, dtype=torch.int64), "x must be a tensor of dtype float32 or float64, got torch.int64"),
        (torch.zeros(2, 64).half(), "x must be a tensor of dtype float32 or float64, got torch.float16"),
        (torch.tensor(1.0), r"x must have shape \(..., 64\) with at least one image, got \(\)"),
        (torch.zeros(2, 8, 8), r"x must have shape \(..., 64\) with at least one image, got \(2, 8, 8\)"),
        (torch.zeros(0, 64), r"x must have shape \(..., 64\) with at least one image, got \(0, 64\)"),
        (
            torch.tensor([[torch.nan] * 2 + [torch.inf] + [0] * 61]),
            r"x must be finite, got 3 NaN or infinite value\(s\)",
        ),
    ],
)
def test_augment_refuses_what_is_no_image(x, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        augment(x, generator(0))


@pytest.mark.parametrize("strength", [-0.1, math.inf, math.nan, "1", None])
def test_augment_refuses_a_bad_strength(strength):
    with pytest.raises(ValueError, match=r"^strength must be a finite number >= 0, got "):
        augment(torch.zeros(1, 64), generator(0), strength)


# ---------------------------------------------------------------- training


def start_by_hand(seed: int, dtype: torch.dtype = DOUBLE) -> nn.Sequential:
    """Layers of torch.nn with He's uniform weights, drawn in order from the seed's first generator."""
    source, layers = generator(3 * seed), []
    for inputs, outputs in ((64, 128), (128, 32), (32, 32), (32, 16)):
        layer = nn.Linear(inputs, outputs, dtype=dtype)
        draws = torch.rand(inputs, outputs, generator=source).to(dtype)
        layer.weight.data = math.sqrt(6 / inputs) * (2 * draws.T - 1)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    first, second, third, fourth = layers
    return nn.Sequential(nn.Sequential(first, nn.ReLU(), second), nn.Sequential(third, nn.ReLU(), fourth))


def views_by_hand(images: torch.Tensor, n: int, seed: int, strength: float):
    """Step by step: shuffle, cut into batches, drop the rest, two views each."""
    order, source = generator(3 * seed + 1), generator(3 * seed + 2)
    while True:
        shuffled = torch.randperm(len(images), generator=order)
        for start, end in pairwise(range(0, len(images) + 1, n)):
            yield augment(images[shuffled[start:end]].repeat(2, 1), source, strength)


LOSSES_BY_HAND = {
    "cross-entropy": lambda own, others: -torch.log(own.exp() / (own.exp() + others.exp().sum())),
    "exact": lambda own, others: torch.log1p((others - own).exp().sum()),
    "FlatNCE": lambda own, others: (others.exp().sum() / own.exp()).log(),
    "log of the batch mean": lambda own, others: torch.log1p((others - own).exp().sum()),
    "xi": lambda own, others: others.exp().sum() / own.exp(),
}


def train_by_hand(images, loss, n, steps, seed, *, temperature, strength, make_optimizer, negatives=None):
    """Losses [steps], log10 xi [steps, 2n] and the network, from loops over the anchors."""
    network, source = start_by_hand(seed), views_by_hand(images, n, seed, strength)
    optimizer, losses, xis = make_optimizer(network.parameters()), [], []
    for _ in range(steps):
        z = network(next(source))
        z = z / z.norm(dim=1, keepdim=True)
        terms, xi = [], []
        for i in range(2 * n):
            others = [(i + k) % (2 * n) for k in range(1, 2 * n) if k != n][:negatives]
            scores = z @ z[i] / temperature
            terms.append(LOSSES_BY_HAND[loss](scores[(i + n) % (2 * n)], scores[others]))
            xi.append(math.log10((scores[others] - scores[(i + n) % (2 * n)]).exp().sum().item()))
        value = torch.stack(terms).mean()
        value = value.log() if loss == "log of the batch mean" else value
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
        xis.append(xi)
    return np.array(losses), np.array(xis), network


def assert_same_run(run, k, by_hand):
    losses, xis, network = by_hand
    np.testing.assert_allclose(run.losses[:, k].numpy(), losses, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(run.log10_xi[:, k].numpy(), xis[:: contrastive_training.RECORD_EVERY], rtol=0, atol=1e-9)
    for weight, bias, layer in zip(*run.encoders, [*network[0][::2], *network[1][::2]], strict=True):
        np.testing.assert_allclose(weight[k].numpy(), layer.weight.detach().T.numpy(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(bias[k, 0].numpy(), layer.bias.detach().numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_is_plain_torch_seed_by_seed(digits, monkeypatch, loss):
    monkeypatch.setattr(contrastive_training, "_VIEWS_AT_ONCE", 60)  # more than one chunk; the stream must not change
    images, seeds = digits[0][:43], [4, 0]  # 8 batches of 5 an epoch, three images left out
    run = train_encoders(images, loss, 5, 12, seeds, dtype=DOUBLE)
    adam = lambda parameters: torch.optim.Adam(parameters, lr=1e-3, eps=1e-8)  # noqa: E731
    for k, seed in enumerate(seeds):
        by_hand = train_by_hand(images, loss, 5, 12, seed, temperature=0.1, strength=1.0, make_optimizer=adam)
        assert_same_run(run, k, by_hand)


def test_settings_reach_where_they_belong(digits):
    images = digits[0][:64]
    settings = {"temperature": 0.5, "strength": 0.3}
    run = train_encoders(
        images, "exact", 4, 6, [1], **settings, learning_rate=0.01, adam_eps=0.1, negatives=2, dtype=DOUBLE
    )
    adam = lambda parameters: torch.optim.Adam(parameters, lr=0.01, eps=0.1)  # noqa: E731
    assert_same_run(run, 0, train_by_hand(images, "exact", 4, 6, 1, **settings, make_optimizer=adam, negatives=2))
    run = train_encoders(
        images, "FlatNCE", 4, 6, [1], **settings, learning_rate=0.02, optimizer="SGD", negatives=6, dtype=DOUBLE
    )
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9)  # noqa: E731
    assert_same_run(run, 0, train_by_hand(images, "FlatNCE", 4, 6, 1, **settings, make_optimizer=sgd))


def test_stacked_seeds_equal_single_ones(digits):
    stacked = train_encoders(digits[0], "exact", 16, 25, [0, 1, 2], dtype=DOUBLE)
    for k in range(3):
        alone = train_encoders(digits[0], "exact", 16, 25, [k], dtype=DOUBLE)
        torch.testing.assert_close(stacked.losses[:, k], alone.losses[:, 0], rtol=0, atol=1e-10)
        torch.testing.assert_close(stacked.log10_xi[:, k], alone.log10_xi[:, 0], rtol=0, atol=1e-10)
        for weights, own in zip(stacked.encoders.weights, alone.encoders.weights, strict=True):
            torch.testing.assert_close(weights[k], own[0], rtol=0, atol=1e-10)


def test_all_losses_start_from_and_see_the_same(digits):
    still = {"learning_rate": 1e-300, "dtype": DOUBLE}  # nothing moves: xi tells the start and all the views
    runs = [train_encoders(digits[0], loss, 8, 41, [7, 8], **still) for loss in LOSSES]
    longer = train_encoders(digits[0], "exact", 8, 60, [8], **still)
    assert runs[0].log10_xi.shape == (5, 2, 16)
    for run in runs[1:]:
        assert torch.equal(run.log10_xi, runs[0].log10_xi)
    torch.testing.assert_close(longer.log10_xi[:5, 0], runs[0].log10_xi[:, 1], rtol=0, atol=1e-12)
    assert (runs[0].log10_xi[:, 0] - runs[0].log10_xi[:, 1]).abs().min() > 0  # different seeds see different things


def test_batch_of_all_images_and_no_steps(digits):
    images = digits[0][:4]
    assert torch.isfinite(train_encoders(images, "exact", 4, 3, [0]).losses).all()
    untrained = train_encoders(images, "exact", 2, 0, [3, 5], dtype=DOUBLE)
    assert untrained.losses.shape == (0, 2)
    assert untrained.log10_xi.shape == (0, 2, 4)
    network = start_by_hand(5)
    torch.testing.assert_close(untrained.encoders.h(images)[1], network[0](images).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_scores(digits, half):
    def scores_by_hand():
        z = F.normalize(start_by_hand(2, torch.float32)(next(views_by_hand(digits[0].float(), 4, 2, 1.0))), dim=1)
        cosines = z.to(half) @ z.to(half).T / 0.1
        columns = [[(i + 4) % 8, *(j for j in range(8) if (j - i) % 4)] for i in range(8)]  # the positive, the others
        return torch.stack([own[order] for own, order in zip(cosines, columns, strict=True)]).detach()

    scores, target = scores_by_hand(), torch.zeros(8, dtype=torch.int64)
    assert scores.dtype == half
    expected = {
        "cross-entropy": F.cross_entropy(scores, target, reduction="none").mean().float(),
        "exact": F.cross_entropy(scores.double(), target).float(),
        "FlatNCE": (scores[:, 1:].double().logsumexp(1) - scores[:, 0].double()).mean().float(),
    }
    for loss, value in expected.items():
        run = train_encoders(digits[0], loss, 4, 1, [2], score_dtype=half)
        assert run.losses.dtype == run.encoders.weights[0].dtype == torch.float32
        tolerance = 2e-2 if loss == "cross-entropy" else 1e-4  # half-precision sums differ between processors
        torch.testing.assert_close(run.losses[0, 0], value, rtol=tolerance, atol=tolerance)
    own = (scores[:, 1:].double().logsumexp(1) - scores[:, 0].double()) / math.log(10)
    torch.testing.assert_close(run.log10_xi[0, 0].double(), own, rtol=0, atol=1e-2)


def test_single_precision_is_the_default_and_follows_double(digits):
    single = train_encoders(digits[0], "FlatNCE", 8, 5, [0])
    double = train_encoders(digits[0].float(), "FlatNCE", 8, 5, [0], dtype=DOUBLE)
    assert single.losses.dtype == single.log10_xi.dtype == single.encoders.biases[0].dtype == torch.float32
    assert double.losses.dtype == double.log10_xi.dtype == double.encoders.biases[0].dtype == DOUBLE
    torch.testing.assert_close(single.losses.double(), double.losses, rtol=0, atol=1e-4)
    whole = train_encoders(digits[0].float().double(), "FlatNCE", 8, 5, [0], dtype=DOUBLE)
    torch.testing.assert_close(double.losses, whole.losses, rtol=0, atol=1e-12)  # the views are made in double, too


def test_encoders_are_finished_tensors(digits):
    encoders = train_encoders(digits[0], "exact", 4, 2, [0, 1]).encoders
    assert [tuple(w.shape[1:]) for w in encoders.weights] == list(LAYERS)
    assert not any(p.requires_grad for p in (*encoders.weights, *encoders.biases))
    images = digits[0][:5]
    features = encoders.h(images)
    assert features.shape == (2, 5, 32)
    own = torch.stack([images, images.flip(0)])
    torch.testing.assert_close(encoders.h(own)[1], features[1].flip(0))
    z = encoders.z(images)
    assert z.shape == (2, 5, 16)
    torch.testing.assert_close(z.norm(dim=2), torch.ones(2, 5))


def test_the_loss_is_that_of_nt_xent(digits):
    run = train_encoders(digits[0], "exact", 8, 1, [6], dtype=DOUBLE, temperature=0.3)
    z = start_by_hand(6)(next(views_by_hand(digits[0], 8, 6, 1.0)))
    expected = contrastive.info_nce(*contrastive.nt_xent_scores(z, 0.3))
    assert run.losses[0, 0].item() == pytest.approx(expected.item(), rel=1e-10)


def test_training_helps(digits):
    accuracies = []
    for steps in (0, 250):
        encoders = train_encoders(digits[0].float(), "exact", 32, steps, [0, 1, 2]).encoders
        accuracies.append(encoder_accuracies(encoders, digits[0].float(), digits[1], digits[2].float(), digits[3]))
    for name in ("knn", "probe"):
        assert accuracies[1][name].mean() > accuracies[0][name].mean() + 0.05


def test_progress_wraps_the_steps(digits):
    seen = []

    def progress(steps):
        seen.append(steps)
        return iter(steps)

    train_encoders(digits[0], "exact", 4, 3, [0], progress=progress)
    assert seen == [range(3)]


BAD = [
    ({"images": np.zeros((9, 64))}, "images must be a tensor of dtype float32 or float64, got float64"),
    ({"images": torch.zeros(64)}, r"images must have 2 dimensions, got shape \(64,\)"),
    ({"images": torch.zeros(3, 9, 64)}, r"images must have 2 dimensions, got shape \(3, 9, 64\)"),
    ({"images": torch.full((9, 64), torch.inf)}, r"images must be finite, got 576 NaN or infinite value\(s\)"),
    ({"loss": "InfoNCE"}, "loss must be one of .*, got 'InfoNCE'"),
    ({"batch_size": 1}, "batch_size must be an integer >= 2, got 1"),
    ({"batch_size": 10}, r"batch_size must be at most the number of images \(9\), got 10"),
    ({"steps": -1}, "steps must be an integer >= 0, got -1"),
    ({"steps": 1.0}, "steps must be an integer >= 0, got 1.0"),
    ({"seeds": []}, r"seeds must be one or more different integers, got \[\]"),
    ({"seeds": [0, 1, 0]}, r"seeds must be one or more different integers, got \[0, 1, 0\]"),
    ({"seeds": [-1]}, "seeds must be an integer >= 0, got -1"),
    ({"temperature": 0.0}, "temperature must be a finite number > 0, got 0.0"),
    ({"temperature": math.nan}, "temperature must be a finite number > 0, got nan"),
    ({"learning_rate": 0}, "learning_rate must be a finite number > 0, got 0"),
    ({"learning_rate": math.inf}, "learning_rate must be a finite number > 0, got inf"),
    ({"adam_eps": 0.0}, "adam_eps must be a finite number > 0, got 0.0"),
    ({"strength": -1}, "strength must be a finite number >= 0, got -1"),
    ({"negatives": 0}, "negatives must be an integer >= 1, got 0"),
    ({"negatives": 7}, "negatives must be at most 2 batch_size - 2 = 6, got 7"),
    ({"optimizer": "LARS"}, "optimizer must be one of .*, got 'LARS'"),
    ({"dtype": torch.float16}, "dtype must be one of .*, got torch.float16"),
    ({"score_dtype": torch.float32}, "score_dtype must be one of .*, got torch.float32"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_training_refuses(change, message):
    images = torch.rand(9, 64, generator=generator(0))
    good = {"images": images, "loss": "exact", "batch_size": 4, "steps": 1, "seeds": [0]}
    train_encoders(**good)
    with pytest.raises(ValueError, match=f"^{message}$"):
        train_encoders(**good | change)


# ---------------------------------------------------------------- three vectors


def test_first_step_of_three_vectors_by_hand():
    """d loss / d cosine is -p/τ and p/τ; vectors move along the sphere; FlatNCE has p = 1."""
    path = train_three_vectors(0.5, "SGD", steps=2, dtype=DOUBLE).numpy()
    z, y, n = np.array([[1, 0, 0], [0.9, math.sqrt(0.19), 0], [0, 0, 1]])
    p = 1 / (1 + math.exp(0.9 / 0.5))
    for loss, pull in enumerate((p, p, 1.0)):
        assert path[0, loss] == pytest.approx([0.9, 0])
        rate = 4e-3 * pull / 0.5
        moved = [z + rate * (y - 0.9 * z - n), y + rate * (z - 0.9 * y), n - rate * z]
        a, b, c = (row / np.linalg.norm(row) for row in moved)
        np.testing.assert_allclose(path[1, loss], [a @ b, a @ c], rtol=0, atol=1e-9)


def test_adam_moves_three_vectors_unless_epsilon_swallows_the_gradient():
    still = train_three_vectors(0.03, adam_eps=1e-2, steps=30, dtype=DOUBLE)
    moved = train_three_vectors(0.03, adam_eps=1e-16, steps=30, dtype=DOUBLE)
    assert torch.allclose(still[-1, :2], still[0, :2], atol=1e-6)
    assert (moved[-1, :2, 0] > 0.95).all()
    assert train_three_vectors(0.03, steps=3).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a finite number > 0, got 0.0"),
        ({"adam_eps": -1.0}, "adam_eps must be a finite number > 0, got -1.0"),
        ({"optimizer": "RMSprop"}, r"optimizer must be one of \('Adam', 'SGD'\), got 'RMSprop'"),
        ({"steps": -1}, "steps must be an integer >= 0, got -1"),
    ],
)
def test_three_vectors_refuse(change, message):
    with pytest.raises(ValueError, match=message):
        train_three_vectors(**({"temperature": 0.1} | change))
