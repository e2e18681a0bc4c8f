"""Parallel contrastive losses against one process and one forward pass.

The workers of these tests are threads that hand each other tensors; tests/test_contrastive_examples.py runs real ones.
"""

import threading
import weakref

import pytest
import torch
from torch import nn

from helpers import contrastive_parallel
from helpers.contrastive import flat_nce, info_nce, nt_xent_scores
from helpers.contrastive_parallel import all_gather_with_grad, distributed_nt_xent_scores, grad_cache_backward

TAU = 0.2
LOSSES = {"InfoNCE": info_nce, "FlatNCE": flat_nce}


class Threads:
    """Stands in for torch.distributed: ranks are threads, a collective is a table that all write before all read."""

    def __init__(self, workers):
        self.workers, self.local, self.table = workers, threading.local(), [None] * workers
        self.barrier = threading.Barrier(workers, timeout=10)
        self.groups = set()

    def get_world_size(self, group=None):
        self.groups.add(group)
        return self.workers

    def get_rank(self, group=None):
        self.groups.add(group)
        return self.local.rank

    def _exchanged(self, tensor, group):
        assert tensor.is_contiguous()  # which gloo asks for
        self.groups.add(group)
        self.table[self.local.rank] = tensor.detach().clone()
        self.barrier.wait()
        rows = list(self.table)
        self.barrier.wait()
        return rows

    def all_gather(self, outputs, tensor, group=None):
        for output, row in zip(outputs, self._exchanged(tensor, group), strict=True):
            output.copy_(row)

    def all_reduce(self, tensor, group=None):
        tensor.copy_(torch.stack(self._exchanged(tensor, group)).sum(0))

    def run(self, work):
        """work(rank) on every worker; its results, or the errors raised, in the order of ranks."""
        results = [None] * self.workers

        def target(rank):
            self.local.rank = rank
            try:
                results[rank] = work(rank)
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=target, args=(rank,)) for rank in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.fixture
def on(monkeypatch):
    """on(W, work): the results of work(rank) on W workers."""

    def run(workers, work, group=None):
        threads = Threads(workers)
        monkeypatch.setattr(contrastive_parallel, "dist", threads)
        results = threads.run(work)
        assert threads.groups <= {group}  # every collective is one of the group that was asked for
        for result in results:
            if isinstance(result, threading.BrokenBarrierError):
                raise result
        return results

    return run


def one(results):
    """The error that every worker raised."""
    assert all(type(result) is type(results[0]) for result in results)
    assert len({str(result) for result in results}) == 1
    raise results[0]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- gathering


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_rows_come_in_the_order_of_ranks(on, workers):
    z = normal(workers, 4, 3)
    for rows in on(workers, lambda rank: all_gather_with_grad(z[rank])):
        assert torch.equal(rows, z.flatten(0, 1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_gradient_is_that_of_the_sum_of_all_losses(on, workers):
    """Oracle: autograd on all rows in one piece."""
    z, factors = normal(workers, 4, 3), normal(workers, 4 * workers, 3, seed=1)

    def loss(rank, rows):
        return (factors[rank] * rows).square().sum() * (rank + 1)

    def work(rank):
        mine = z[rank].clone().requires_grad_()
        loss(rank, all_gather_with_grad(mine)).backward()
        return mine.grad

    whole = z.flatten(0, 1).requires_grad_()
    sum(loss(rank, whole) for rank in range(workers)).backward()
    torch.testing.assert_close(torch.cat(on(workers, work)), whole.grad, rtol=1e-14, atol=0)


def test_rows_and_gradients_in_any_memory_layout(on):
    z = normal(2, 3, 4)

    def work(rank):
        mine = z[rank].clone().requires_grad_()
        rows = all_gather_with_grad(mine.T)  # not contiguous, nor is the gradient of a sum
        rows.sum().backward()
        return rows.detach(), mine.grad

    for rows, grad in on(2, work):
        assert torch.equal(rows, torch.cat([z[0].T, z[1].T]))
        assert torch.equal(grad, torch.full((3, 4), 2.0, dtype=torch.float64))


def test_the_gradient_that_came_in_is_left_alone(on):
    z = normal(2, 3, 4)

    def work(rank):
        rows = all_gather_with_grad(z[rank].clone().requires_grad_())
        rows.retain_grad()
        (rows * z.flatten(0, 1)).sum().backward()
        return rows.grad

    for grad in on(2, work):
        assert torch.equal(grad, z.flatten(0, 1))


def test_the_group_is_passed_on(on):
    def work(rank):
        z = normal(4, 3).requires_grad_()
        all_gather_with_grad(z, "some of them").sum().backward()
        scores, _ = distributed_nt_xent_scores(z, TAU, "some of them")
        scores.logsumexp(1).sum().backward()

    assert on(2, work, group="some of them") == [None, None]


def test_different_shapes_are_refused_by_every_worker(on):
    message = r"z must have the same shape in every process, got \(4, 3\), \(5, 3\)$"
    with pytest.raises(ValueError, match=message):
        one(on(2, lambda rank: all_gather_with_grad(torch.ones(4 + rank, 3))))
    with pytest.raises(ValueError, match=r"got \(4, 3\), \(4, 2\), \(4, 1\)$"):
        one(on(3, lambda rank: all_gather_with_grad(torch.ones(4, 3 - rank))))


SHAPE = "z must be 2-D with at least one row and one column, got shape "


@pytest.mark.parametrize("function", [all_gather_with_grad, lambda z: distributed_nt_xent_scores(z, TAU)])
@pytest.mark.parametrize(
    ("z", "kind", "message"),
    [
        ([[1.0, 2.0]], TypeError, "z must be a torch.Tensor, got list"),
        (torch.ones(4), ValueError, SHAPE + "(4,)"),
        (torch.ones(2, 2, 2), ValueError, SHAPE + "(2, 2, 2)"),
        (torch.ones(0, 3), ValueError, SHAPE + "(0, 3)"),
        (torch.ones(4, 0), ValueError, SHAPE + "(4, 0)"),
    ],
)
def test_gathering_refuses(on, function, z, kind, message):
    with pytest.raises(kind) as caught:
        one(on(1, lambda rank: function(z)))
    assert str(caught.value) == message


def test_a_second_derivative_is_refused(on):
    def work(rank):
        z = normal(2, 3).requires_grad_()
        (grad,) = torch.autograd.grad(all_gather_with_grad(z).square().sum(), z, create_graph=True)
        grad.sum().backward()

    with pytest.raises(RuntimeError, match="once_differentiable"):
        one(on(1, work))


def test_without_a_process_group_torch_says_what_is_missing():
    with pytest.raises(ValueError, match="init_process_group"):
        all_gather_with_grad(torch.ones(2, 2))


# ---------------------------------------------------------------- the scores of one process


def views_of(z, workers):
    """The block of each worker, first views above second ones, of z with all first views above all second ones."""
    return z.unflatten(0, (2, workers, -1)).transpose(0, 1).flatten(1, 2)


@pytest.mark.parametrize(("workers", "pairs"), [(1, 2), (1, 5), (2, 2), (2, 6), (3, 3)])
def test_scores_are_the_rows_of_the_whole_matrix(on, workers, pairs):
    """Oracle: the cosines, pair by pair."""
    blocks = views_of(3 * normal(2 * pairs, 4), workers)
    rows = blocks.flatten(0, 1)
    n = 2 * pairs // workers
    results = on(workers, lambda rank: distributed_nt_xent_scores(blocks[rank], TAU))
    for rank, (scores, target) in enumerate(results):
        assert scores.shape == (n, 2 * pairs)
        for i in range(n):
            me = rank * n + i
            assert target[i] == rank * n + (i + n // 2) % n
            for j in range(2 * pairs):
                cosine = torch.dot(rows[me], rows[j]) / (rows[me].norm() * rows[j].norm())
                expected = -torch.inf if j == me else cosine.item() / TAU
                assert scores[i, j].item() == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_loss_and_gradient_are_those_of_one_process(on, workers, name):
    """Oracle: the whole matrix in one process; the workers' mean of loss and gradient, as DDP takes it."""
    x, start, loss = normal(12, 5), normal(5, 4, seed=1), LOSSES[name]
    blocks = views_of(x, workers)

    def work(rank):
        weights = start.clone().requires_grad_()
        value = loss(*distributed_nt_xent_scores((blocks[rank] @ weights).tanh(), TAU))
        value.backward()
        return value.detach(), weights.grad

    weights = start.clone().requires_grad_()
    whole = loss(*nt_xent_scores((x @ weights).tanh(), TAU))
    whole.backward()
    values, grads = zip(*on(workers, work), strict=True)
    torch.testing.assert_close(torch.stack(values).mean(), whole.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(torch.stack(grads).mean(0), weights.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(on, dtype):
    z = normal(6, 4).to(dtype)
    ((half, _),) = on(1, lambda rank: distributed_nt_xent_scores(z, TAU))
    ((full, _),) = on(1, lambda rank: distributed_nt_xent_scores(z.float(), TAU))
    assert half.dtype == torch.float32
    assert torch.equal(half, full)


def test_autocast_does_not_reach_the_scores(on):
    z = normal(6, 4).float()

    def work(rank):
        with torch.autocast("cpu", torch.bfloat16):
            return distributed_nt_xent_scores(z, TAU)[0]

    ((full, _),) = on(1, lambda rank: distributed_nt_xent_scores(z, TAU))
    (cast,) = on(1, work)
    assert torch.equal(cast, full)


LENGTH = "z must have rows of finite length > 0, got others in row(s) "


@pytest.mark.parametrize(
    ("z", "temperature", "message"),
    [
        (torch.ones(4, 2, dtype=torch.int64), TAU, "z must be floating, got dtype torch.int64"),
        (torch.ones(5, 2), TAU, "z must have an even number of rows, views i and i + n of n samples, got 5"),
        (torch.ones(4, 2), 0.0, "temperature must be a finite number > 0, got 0.0"),
        (torch.ones(4, 2), -0.1, "temperature must be a finite number > 0, got -0.1"),
        (torch.ones(4, 2), float("inf"), "temperature must be a finite number > 0, got inf"),
        (torch.ones(4, 2), float("nan"), "temperature must be a finite number > 0, got nan"),
        (torch.ones(4, 2), "0.1", "temperature must be a finite number > 0, got '0.1'"),
        (torch.tensor([[1.0], [0.0], [1.0], [0.0]]), TAU, LENGTH + "1, 3"),
        (torch.tensor([[1.0], [1.0], [1.0], [torch.inf]]), TAU, LENGTH + "3"),
        (torch.tensor([[torch.nan], [1.0], [1.0], [1.0]]), TAU, LENGTH + "0"),
        (torch.ones(2, 2), TAU, "z must have at least 4 rows in all processes (N >= 2), got 2: no negatives"),
    ],
)
def test_scores_refuse(on, z, temperature, message):
    with pytest.raises(ValueError, match="must") as caught:
        one(on(1, lambda rank: distributed_nt_xent_scores(z, temperature)))
    assert str(caught.value) == message


# ---------------------------------------------------------------- chunks


def encoder():
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    with torch.no_grad():
        for k, weights in enumerate(model.parameters()):
            weights.copy_(normal(*weights.shape, seed=k))
    return model


def both(loss):
    return lambda a, b: loss(*nt_xent_scores(torch.cat([a, b]), TAU))


def gradients(model):
    return [weights.grad.clone() for weights in model.parameters()]


A, B = normal(10, 5, seed=10), normal(10, 5, seed=11)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("chunk_size", [1, 3, 5, 10, 99])
def test_chunks_have_the_loss_and_gradient_of_the_whole_batch(name, chunk_size):
    """Oracle: the batch in one piece. A loss over each chunk alone, summed up, is far from it."""
    whole, chunked, alone, loss = encoder(), encoder(), encoder(), both(LOSSES[name])
    expected = loss(whole(A), whole(B))
    expected.backward()
    value = grad_cache_backward(chunked, A, B, loss, chunk_size)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-13, atol=0)
    assert not value.requires_grad
    for ours, its in zip(gradients(chunked), gradients(whole), strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-11, atol=1e-13)
    if chunk_size == 5:
        for a, b in zip(A.split(5), B.split(5), strict=True):
            (loss(alone(a), alone(b)) / 2).backward()
        assert (gradients(alone)[0] - gradients(whole)[0]).norm() > 0.05 * gradients(whole)[0].norm()


def test_views_keep_their_places():
    factors = normal(10, 4, seed=3)
    whole, chunked = encoder(), encoder()
    loss = lambda a, b: (factors * a * b.cumsum(0)).sum()  # noqa: E731
    loss(whole(A), whole(B)).backward()
    grad_cache_backward(chunked, A, B, loss, 3)
    for ours, its in zip(gradients(chunked), gradients(whole), strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-11, atol=1e-12)


def test_one_pair_is_enough_for_a_loss_without_negatives():
    model = encoder()
    assert grad_cache_backward(model, A[:1], B[:1], scalar, 1) == scalar(model(A[:1]), model(B[:1]))


def test_gradients_are_added_to_what_is_there():
    once, twice = encoder(), encoder()
    for model, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            grad_cache_backward(model, A, B, both(info_nce), 4)
    for one_pass, two in zip(gradients(once), gradients(twice), strict=True):
        torch.testing.assert_close(two, 2 * one_pass)


def test_activations_of_one_chunk_at_a_time():
    """The encoder sees every chunk twice, and by the next one the activations of the last are gone."""
    model, sizes, alive, seen = encoder(), [], [], []

    def encode(rows):
        alive.append(sum(activation() is not None for activation in seen))
        sizes.append(len(rows))
        hidden = model[1](model[0](rows))
        seen.append(weakref.ref(hidden))
        return model[2](hidden)

    calls = []

    def loss(a, b):
        calls.append((len(a), len(b), len(sizes)))
        return both(info_nce)(a, b)

    grad_cache_backward(encode, A, B, loss, 4)
    assert calls == [(10, 10, 6)]  # once, of all rows
    assert sorted(sizes) == [2] * 4 + [4] * 8
    assert alive == [0] * 12


def test_dropout_repeats_its_random_numbers():
    """Oracle: the same chunks from the same seed, activations kept."""
    model = nn.Sequential(encoder()[:2], nn.Dropout(0.25), encoder()[2])
    loss = both(info_nce)
    with torch.random.fork_rng(devices=[]):
        state = torch.get_rng_state()
        expected = loss(*(torch.cat([model(rows) for rows in view.split(4)]) for view in (A, B)))
        expected.backward()
        kept, after = gradients(model), torch.get_rng_state()
        model.zero_grad()
        torch.set_rng_state(state)
        value = grad_cache_backward(model, A, B, loss, 4)
        assert torch.equal(torch.get_rng_state(), after)  # as if each random number had been drawn once
    assert not torch.equal(state, after)
    assert value == expected
    for ours, its in zip(gradients(model), kept, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-12, atol=1e-14)


def scalar(a, b):
    return (a * b).sum()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size must be an integer >= 1, got 0"),
        ({"chunk_size": -2}, ValueError, "chunk_size must be an integer >= 1, got -2"),
        ({"chunk_size": 2.0}, ValueError, "chunk_size must be an integer >= 1, got 2.0"),
        ({"chunk_size": True}, ValueError, "chunk_size must be an integer >= 1, got True"),
        ({"view_a": [[1.0]]}, TypeError, "view_a must be a torch.Tensor, got list"),
        ({"view_b": None}, TypeError, "view_b must be a torch.Tensor, got NoneType"),
        (
            {"view_b": B[:9]},
            ValueError,
            "view_a and view_b must have the same number of rows, at least one, got shapes (10, 5) and (9, 5)",
        ),
        (
            {"view_a": A[:0], "view_b": B[:0]},
            ValueError,
            "view_a and view_b must have the same number of rows, at least one, got shapes (0, 5) and (0, 5)",
        ),
        (
            {"view_a": A[0, 0], "view_b": B[:1]},
            ValueError,
            "view_a and view_b must have the same number of rows, at least one, got shapes () and (1, 5)",
        ),
        (
            {"view_a": A[:1], "view_b": B[0, 0]},
            ValueError,
            "view_a and view_b must have the same number of rows, at least one, got shapes (1, 5) and ()",
        ),
        ({"encoder": lambda rows: rows[:1]}, ValueError, "encoder must return one row per row, got 3 for 10"),
        ({"loss_fn": lambda a, b: (a * b).sum(1)}, ValueError, "loss_fn must return a scalar, got shape (10,)"),
    ],
)
def test_chunks_refuse(arguments, kind, message):
    model = encoder()
    given = {"encoder": model, "view_a": A, "view_b": B, "loss_fn": scalar, "chunk_size": 4} | arguments
    with pytest.raises(kind) as caught:
        grad_cache_backward(**given)
    assert str(caught.value) == message
    assert all(weights.grad is None for weights in model.parameters())
