"""Gradient normalisation beside the published function, spectral norm and POT; what each scheme costs per step.

    OMP_NUM_THREADS=1 python benchmarks/wgan_peers.py

Part 1: D/(|∇D| + |D|) as the GN paper's repository (basiclab/GNGAN-PyTorch, `normalize_gradient`) computes it: values,
gradients by the parameters, behaviour at the edges, times.
Part 2: torch's spectral_norm: its factor against the exact singular value, and the slope that is left of the 1 allowed.
Part 3: exact Wasserstein-1 distances beside POT (`pip install POT`, not a dependency; its columns stay empty without).
Part 4: CPU time (median and quartiles, in random order) and bytes saved for the backward pass, per step of the critic
and of the generator.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from helpers.wgan import (
    clip_weights_,
    generator_direction,
    gradient_normalize,
    gradient_penalty,
    local_norm,
    r1_penalty,
    wasserstein1_1d,
    wasserstein1_assignment,
)

try:
    import ot
except ImportError:
    ot = None


def published(critic: nn.Module, x: Tensor) -> Tensor:
    """What the repository's function does: [N, 1], and x is left requiring grad."""
    x.requires_grad_(True)
    value = critic(x)
    (grad,) = torch.autograd.grad(value, x, torch.ones_like(value), create_graph=True, retain_graph=True)
    norm = grad.flatten(1).norm(dim=1).reshape(-1, *[1] * (value.ndim - 1))
    return value / (norm + value.abs())


def mlp(*widths: int, spectral: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for m, n in pairwise(widths):
        layer = nn.Linear(m, n)
        layers += [parametrizations.spectral_norm(layer) if spectral else layer, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def conv(spectral: bool = False) -> nn.Sequential:
    wrap = parametrizations.spectral_norm if spectral else (lambda layer: layer)
    return nn.Sequential(
        *(wrap(nn.Conv2d(1, 32, 4, 2, 1)), nn.LeakyReLU(0.2), wrap(nn.Conv2d(32, 64, 4, 2, 1)), nn.LeakyReLU(0.2)),
        *(nn.Flatten(), wrap(nn.Linear(64 * 49, 1))),
    )


def cpu_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Quartiles of the CPU time of each call, in random order: what ran before decides what is in the cache."""
    rng, taken = np.random.default_rng(0), {name: [] for name in calls}
    for _ in range(repeats + 2):
        for name in rng.permutation(list(calls)):
            start = time.process_time()
            calls[name]()
            taken[name].append(1e3 * (time.process_time() - start))
    return {name: np.percentile(each[2:], [25, 50, 75]) for name, each in taken.items()}  # the first two warm up


def values() -> None:
    print("Part 1: the published function, 2-64-64-1, 256 points")
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        net, x = mlp(2, 64, 64, 1).to(dtype), 2 * torch.randn(256, 2, dtype=dtype)
        ours, theirs = gradient_normalize(net, x), published(net, x.clone())[:, 0]
        pairs = zip(*(torch.autograd.grad(each.mean(), list(net.parameters())) for each in (ours, theirs)), strict=True)
        apart = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
        print(f"  {str(dtype)[6:]}: values {(ours - theirs).abs().max():.1e} apart, gradients {apart:.1e} (relative)")
    net, x = mlp(2, 64, 64, 1), torch.randn(512, 2)
    calls = {
        "ours": lambda: gradient_normalize(net, x).mean().backward(),
        "published": lambda: published(net, x.clone()).mean().backward(),
    }
    for name, ms in cpu_ms(calls, 300).items():
        print(f"  {name}: {ms[1]:.2f} ms [{ms[0]:.2f}, {ms[2]:.2f}] forward and backward, 512 points")
    dead, zeros = nn.Sequential(nn.Linear(2, 1), nn.ReLU()), torch.zeros(1, 2)
    nn.init.constant_(dead[0].bias, -1.0)
    print(f"  value and gradient 0: ours {gradient_normalize(dead, zeros).item()}, published {published(dead, zeros)}")
    for what, call in (
        ("no_grad", torch.no_grad()(partial(published, net, x))),
        ("integers", lambda: published(net, x.long())),
    ):
        try:
            call()
        except Exception as error:
            print(f"  published, {what}: {type(error).__name__}: {str(error)[:70]}")


def spectral() -> None:
    print("\nPart 2: torch's spectral_norm, 2-64-64-1 with LeakyReLU(0.2)")
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(64, 64))
    for calls in (1, 20, 500):
        while calls:
            weight, calls = layer.weight, calls - 1
        print(f"  largest singular value now: {torch.linalg.matrix_norm(weight, 2):.6f}")
    net = mlp(2, 64, 64, 1, spectral=True)
    for _ in range(500):
        net(torch.zeros(1, 2))
    norm = local_norm(net.eval(), 4 * torch.randn(10_000, 2))
    print(f"  slope at the start, 10,000 points: at most {norm.max():.4f} of the 1 allowed, median {norm.median():.4f}")


def transport() -> None:
    print("\nPart 3: exact W1, two samples of 8 Gaussians (r = 2, sd 0.1)")
    rng = np.random.default_rng(0)
    for n in (100, 1000):
        angles = 2 * np.pi / 8 * rng.integers(0, 8, (2, n))
        A, B = 2 * np.stack([np.cos(angles), np.sin(angles)], -1) + 0.1 * rng.normal(size=(2, n, 2))
        calls = {"wasserstein1_assignment": lambda A=A, B=B: wasserstein1_assignment(A, B)}
        calls["wasserstein1_1d"] = lambda A=A, B=B: wasserstein1_1d(A[:, 0], B[:, 0])
        if ot:
            calls["POT emd2"] = lambda A=A, B=B: ot.emd2([], [], ot.dist(A, B, metric="euclidean"))
            calls["POT emd2_1d"] = lambda A=A, B=B: ot.emd2_1d(A[:, 0], B[:, 0], metric="euclidean")
        for name, ms in cpu_ms(calls, 10).items():
            print(f"  n = {n:<5}{name:<24}{calls[name]():.15f}  {ms[1]:8.2f} ms")


def saved_bytes(step: Callable[[], Tensor]) -> int:
    """Of the distinct storages that the graph of step's loss keeps."""
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(storage)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(kept.values())


def steps(
    make: Callable[..., nn.Module], real: Tensor, fake: Tensor
) -> tuple[dict[str, Callable[[], Tensor]], list[Tensor]]:
    """Losses of one step each, and all parameters; the generator's part is the gradient at its samples."""
    net, bounded = make(), make(spectral=True)
    generator = torch.Generator().manual_seed(0)

    def wasserstein(critic: Callable[[Tensor], Tensor]) -> Tensor:
        return critic(fake).mean() - critic(real).mean()

    def clipped() -> Tensor:
        clip_weights_(net, 0.1)
        return wasserstein(net)

    def generator_loss(critic: Callable[[Tensor], Tensor]) -> Tensor:
        return -critic(fake.clone().requires_grad_()).mean()

    def closed_form() -> Tensor:
        direction = generator_direction(net, fake)
        return -(direction * fake.clone().requires_grad_()).sum() / len(fake)

    modes = {mode: partial(gradient_normalize, net, mode=mode) for mode in ("gn", "gran", "plain", "inner")}
    return {
        "D none": lambda: wasserstein(net),
        "D clipping": clipped,
        "D spectral norm": lambda: wasserstein(bounded),
        "D GP": lambda: wasserstein(net) + gradient_penalty(net, real, fake, generator=generator),
        "D one-sided GP": lambda: wasserstein(net) + gradient_penalty(net, real, fake, 10, True, generator=generator),
        "D R1": lambda: wasserstein(net) + r1_penalty(net, real),
        **{f"D {mode}": lambda critic=critic: wasserstein(critic) for mode, critic in modes.items()},
        "G none": lambda: generator_loss(net),
        "G spectral norm": lambda: generator_loss(bounded),
        "G gn": lambda: generator_loss(modes["gn"]),
        "G gran": lambda: generator_loss(modes["gran"]),
        "G gn closed form": closed_form,
    }, [*net.parameters(), *bounded.parameters()]


def costs() -> None:
    print("\nPart 4: cost of a step, float32: CPU ms [quartiles], MiB saved for the backward pass")
    cases = [
        ("MLP 2-64-64-1, batch 256", partial(mlp, 2, 64, 64, 1), (256, 2), 300),
        ("MLP 64-256-256-1, batch 128", partial(mlp, 64, 256, 256, 1), (128, 64), 100),
        ("conv 1x28x28, 32 and 64 channels, batch 32", conv, (32, 1, 28, 28), 30),
    ]
    for title, make, shape, repeats in cases:
        torch.manual_seed(0)
        losses, parameters = steps(make, torch.randn(shape), torch.randn(shape) + 1)

        def run(name: str, losses=losses, parameters=parameters) -> None:
            for parameter in parameters:  # a generator's step does not ask for the critic's gradients
                parameter.requires_grad_(name.startswith("D"))
            losses[name]().backward()

        taken = cpu_ms({name: partial(run, name) for name in losses}, repeats)
        print(f"  {title}")
        for name, (low, middle, high) in taken.items():
            for parameter in parameters:
                parameter.requires_grad_(name.startswith("D"))
            size, base = saved_bytes(losses[name]) / 2**20, taken[f"{name[0]} none"][1]
            print(
                f"    {name:<17}{middle:7.2f} [{low:.2f}, {high:.2f}]  {middle / base:5.2f}x  {size:6.3f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread")
    values()
    spectral()
    transport()
    costs()
