"""InfoNCE and FlatNCE over a batch that is spread over workers: what has the gradient of one process, and what has not.

    torchrun --standalone --nproc-per-node=2 examples/contrastive_distributed.py

Every worker encodes both views of its own samples; DistributedDataParallel averages the gradients (gloo). Worker 0 then
does it all alone, and prints by how much loss and gradient of each variant differ from that. The exit status is 1 if a
right variant differs by more than 1e-6 or a wrong one, with two workers or more, by less than 1e-2.

With --memory own or --memory whole there is one step of that right variant alone, and what it adds to a worker's peak
memory (Linux, macOS); benchmarks/contrastive_memory.py makes a table of it.
"""

import argparse
import os
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from helpers.contrastive import flat_nce, info_nce, nt_xent_scores
from helpers.contrastive_parallel import all_gather_with_grad, distributed_nt_xent_scores

TAU = 0.1
LOSSES = {"InfoNCE": info_nce, "FlatNCE": flat_nce}


def new_encoder(seed: int) -> nn.Module:
    """The same weights in every process; the outputs are unit vectors."""
    encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in encoder.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) / weights.shape[-1] ** 0.5)
    return encoder


def two_views(pairs: int, seed: int) -> Tensor:
    """Both views of every sample, shape (2, pairs, 20)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(pairs, 20, generator=generator) + 0.5 * torch.randn(2, pairs, 20, generator=generator)


def without_gradient(z: Tensor, put_back: bool = False) -> Tensor:
    """What dist.all_gather gives: the rows of all workers as constants; one's own can be put back."""
    blocks = [torch.empty_like(z) for _ in range(dist.get_world_size())]
    dist.all_gather(blocks, z.detach())
    if put_back:
        blocks[dist.get_rank()] = z
    return torch.cat(blocks)


def own_rows(z: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """As distributed_nt_xent_scores, but with keys as they are given."""
    own = dist.get_rank() * len(z) + torch.arange(len(z))
    scores = F.normalize(z) @ F.normalize(keys).T / TAU
    return scores.scatter(1, own[:, None], -torch.inf), own.roll(len(z) // 2)


def whole_matrix(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of all anchors in every worker; keys are blocks of first and second views."""
    blocks = keys.unflatten(0, (dist.get_world_size(), 2, -1))
    return nt_xent_scores(blocks.transpose(0, 1).flatten(0, 2), TAU)


OWN, WHOLE = "own rows, gathered with gradient", "whole matrix, gathered with gradient"
RIGHT = {
    OWN: lambda z: distributed_nt_xent_scores(z, TAU),
    WHOLE: lambda z: whole_matrix(all_gather_with_grad(z)),
}
WRONG = {
    "negatives of own worker only": lambda z: nt_xent_scores(z, TAU),
    "own rows, gathered without gradient": lambda z: own_rows(z, without_gradient(z)),
    "own rows, own keys put back": lambda z: own_rows(z, without_gradient(z, put_back=True)),
    "whole matrix, own keys put back": lambda z: whole_matrix(without_gradient(z, put_back=True)),
}


def step(model: nn.Module, views: Tensor, scores, loss) -> tuple[Tensor, Tensor]:
    """Loss and gradient, both means over the workers; views of this worker's samples, shape (2, n, 20)."""
    model.zero_grad()
    value = loss(*scores(model(views.flatten(0, 1))))
    value.backward()
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size(), gradient(model)


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([weights.grad.flatten() for weights in model.parameters()])


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest entry."""
    return ((a - b).abs().max() / b.abs().max()).item()


def peak_memory() -> float:
    """Peak resident memory of this process so far, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def compare(model: nn.Module, views: Tensor, own: Tensor, seed: int) -> int:
    """Print the table (worker 0) and return the exit status."""
    found = {
        (name, variant): step(model, own, scores, loss)
        for variant, scores in (RIGHT | WRONG).items()
        for name, loss in LOSSES.items()
    }
    workers, failed = dist.get_world_size(), 0
    if dist.get_rank() != 0:
        return 0
    print(f"{'relative difference from one process: loss, gradient':52}" + "".join(f"{name:>20}" for name in LOSSES))
    for variant in RIGHT | WRONG:
        differences = {}
        for name, loss in LOSSES.items():
            alone = new_encoder(seed)
            value = loss(*nt_xent_scores(alone(views.flatten(0, 1)), TAU))
            value.backward()
            there, its_gradient = found[name, variant]
            differences[name] = difference(there, value.detach()), difference(its_gradient, gradient(alone))
        if variant in RIGHT:
            as_expected = all(max(pair) <= 1e-6 for pair in differences.values())
        else:
            as_expected = workers == 1 or all(max(pair) >= 1e-2 for pair in differences.values())
        failed += not as_expected
        columns = "".join(f"{loss:>11.1e} {grad:>8.1e}" for loss, grad in differences.values())
        kind = "right" if variant in RIGHT else "wrong"
        print(f"{kind}: {variant:45}{columns}{'' if as_expected else '  UNEXPECTED'}")
    return int(failed > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64, help="samples of all workers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", choices=("own", "whole"))
    options = parser.parse_args()

    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:  # all workers on this machine: no network needed
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("gloo")
    rank, workers = dist.get_rank(), dist.get_world_size()
    if options.pairs % workers:
        parser.error(f"--pairs must be a multiple of the {workers} workers, got {options.pairs}")
    views = two_views(options.pairs, options.seed)
    own = views.chunk(workers, dim=1)[rank]
    model = DistributedDataParallel(new_encoder(options.seed))
    if rank == 0:
        print(f"workers {workers}, pairs {options.pairs}")
    status = 0
    if options.memory is None:
        status = compare(model, views, own, options.seed)
    else:
        before = peak_memory()
        step(model, own, RIGHT[OWN if options.memory == "own" else WHOLE], info_nce)
        added = torch.tensor(peak_memory() - before)
        dist.all_reduce(added, dist.ReduceOp.MAX)
        if rank == 0:
            print(f"a worker added {added:.0f} MiB to its peak memory")
    dist.barrier()
    dist.destroy_process_group()
    return status


if __name__ == "__main__":
    sys.exit(main())
