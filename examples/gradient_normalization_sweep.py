"""Train every row of helpers/stored/gradient_normalization_sweep.json, the experiments of notebook 08.

    OMP_NUM_THREADS=1 python examples/gradient_normalization_sweep.py            # about half an hour on one core
    python examples/gradient_normalization_sweep.py --quick --out /tmp/try.json  # one row of every section, small

A second file beside it, with "_snapshots" at the end of its name, holds critics and samples while they are trained, for
the Explorers. Results are written after every row, and rows that a file already holds are not made again. All schemes
of a section have seen the same points and, seed by seed, started from the same weights: compare them in pairs.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from helpers.gan import generated, train_critic, train_gan
from helpers.gan_critics import MODES, SCHEMES, STRENGTH
from helpers.gan_evaluation import (
    autograd_gap,
    digits_features,
    estimate_distance,
    frechet_distance,
    judge_critic,
    judge_samples,
)
from helpers.gan_snapshots import pack, pack_critic
from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS, GanTask, digits_task, scaled_task
from helpers.lab.stored import command_line, fill
from helpers.lipschitz import generator_direction

NAME = "gradient_normalization_sweep"
SHOWN_STEPS = (0, 50, 100, 200, 400, 800, 1500)  # of a critic
FRAME = 50  # updates of the generator from one stored frame to the next
SAMPLES, FRAME_SAMPLES, IMAGES = 1000, 256, 16  # points that are judged, points in a frame, images of digits
BLOCK = 50  # updates that one number of a stored loss curve is the mean of
FIRST_STEPS = 5  # whose losses, in float64 and for seed 0 alone, tell whether a stored row is still what the code does


def critic_cells() -> list[dict]:
    rows = []
    for task, scheme in itertools.product(CRITIC_TASKS, SCHEMES[1:]):
        plain = {"strength": STRENGTH.get(scheme), "hidden": [64, 64], "steps": 1500, "batch_size": 256}
        rows.append({"section": "critic", "task": task, "scheme": scheme} | plain | {"learning_rate": 1e-3, "seeds": 5})
        if scheme == "inner" and CRITIC_TASKS[task].dimension == 1:
            # Its gradient is exactly 0 here. In float32 Adam would make steps of what rounding leaves of that.
            rows[-1]["dtype"] = "float64"
    return rows


def gan_cell(
    task: str, scheme: str, loss: str = "Wasserstein", strength: float | None = None, **others: object
) -> dict:
    strength = STRENGTH.get(scheme) if strength is None else strength
    row = {"section": "gan", "task": task, "scale": 1.0, "scheme": scheme, "loss": loss, "strength": strength}
    return row | {"generator_scheme": None, "bias": True, "steps": 800, "batch_size": 128, "seeds": 5} | others


def gan_cells() -> list[dict]:
    """Schemes on every task, and the two that the article compares on data of another scale."""
    rows = []
    for task in GAN_TASKS:
        rows += [
            gan_cell(task, "GP", strength=1.0, seeds=10),
            gan_cell(task, "GN", seeds=10),
            gan_cell(task, "GraN", "logistic"),
            gan_cell(task, "R1", "logistic", strength=1.0),
            gan_cell(task, "spectral norm"),
            gan_cell(task, "none", "logistic"),
            gan_cell(task, "inner"),
        ]
    for scale, seeds in ((0.2, 5), (5.0, 10)):
        rows.append(gan_cell("8 Gaussians", "GP", strength=1.0, scale=scale, seeds=seeds))
        rows.append(gan_cell("8 Gaussians", "GN", scale=scale, seeds=seeds))
    return rows


def ablation_cells() -> list[dict]:
    """Other losses, weights and forms on the 8 Gaussians, without biases, and with D itself in the generator's step."""
    task = "8 Gaussians"
    rows = [gan_cell(task, scheme) for scheme in ("clipping", "orthogonal", "GraN", "plain")]
    rows += [gan_cell(task, scheme, "logistic") for scheme in ("plain", "inner")]
    rows += [gan_cell(task, scheme, bias=False) for scheme in ("inner", "GN")]
    rows += [gan_cell(task, "GP", strength=weight) for weight in (0.1, 10.0)]
    return [*rows, gan_cell(task, "GN", generator_scheme="none")]


def digits_cells() -> list[dict]:
    plain = {"generator_scheme": None, "bias": True, "steps": 800, "batch_size": 128, "hidden": [128, 128]}
    plain |= {"latent": 16, "critic_steps": 2, "learning_rate": 5e-4, "output": "tanh", "seeds": 5}
    kinds = (
        ("GP", "Wasserstein", {"strength": 10.0}), ("GP", "Wasserstein", {"strength": 1.0}), ("GN", "Wasserstein", {}),
        ("GraN", "logistic", {}), ("R1", "logistic", {"strength": 1.0}), ("spectral norm", "Wasserstein", {}),
        ("none", "logistic", {}), ("inner", "Wasserstein", {}), ("inner", "Wasserstein", {"bias": False}),
        ("GN", "Wasserstein", {"bias": False}),
    )  # fmt: skip
    return [
        {"section": "digits", "task": "digits", "scale": 1.0, "scheme": scheme, "loss": loss}
        | {"strength": STRENGTH.get(scheme)} | plain | others
        for scheme, loss, others in kinds
    ]  # fmt: skip


def cells() -> list[dict]:
    """Settings of every row of the table, in the order in which they are made."""
    autograd = {"section": "autograd", "points": 200_000, "step": 0.02, "seeds": 5}
    gaps = [autograd | {"scheme": scheme} for scheme in ("none", *MODES)]
    return critic_cells() + gaps + gan_cells() + digits_cells() + ablation_cells()


def snapshot_cells() -> list[dict]:
    """Settings of every row of the snapshots; all of seed 0."""
    critics = [
        {"section": "critic", "task": task, "scheme": scheme, "strength": STRENGTH.get(scheme), "width": width}
        | {"steps": SHOWN_STEPS[-1], "batch_size": 256, "learning_rate": 1e-3}
        for task in ("two scales", "rings")
        for scheme in ("GP", *MODES)
        for width in (16, 64)
    ]
    task = "8 Gaussians"
    shown = [gan_cell(task, "GP", strength=1.0), gan_cell(task, "GN"), gan_cell(task, "GraN", "logistic")]
    shown += [gan_cell(task, "GraN"), gan_cell(task, "inner")]
    return critics + [{key: value for key, value in row.items() if key != "seeds"} for row in shown]


def quick(rows: Iterable[dict]) -> list[dict]:
    """The first row of every section, small."""
    first: dict[str, dict] = {}
    for row in rows:
        first.setdefault(row["section"], row)
    small = {"steps": 3, "points": 500, "seeds": 2, "batch_size": 16}
    return [row | {key: value for key, value in small.items() if key in row} for row in first.values()]


def rounded(values: Iterable[float]) -> list[float | None]:
    """Four digits each; None for what is not finite."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in map(float, values)]


def gan_task(settings: dict) -> GanTask:
    if settings["section"] == "digits":
        return digits_task()
    return scaled_task(GAN_TASKS[settings["task"]], settings["scale"])


def arguments(settings: dict, **changes: object) -> dict:
    """What train_critic or train_gan is called with besides the task."""
    names = ("section", "task", "scale", "width")
    given = {key: value for key, value in settings.items() if key not in names}
    if "width" in settings:
        given["hidden"] = [settings["width"]] * 2
    if "dtype" in settings:
        given["dtype"] = getattr(torch, settings["dtype"])
    return given | {"seeds": range(settings.get("seeds", 1))} | changes


def first_losses(settings: dict) -> list[float]:
    if settings["section"] == "autograd":
        values = list(autograd_gap(settings["scheme"], 0, 1000, settings["step"]))
    else:
        changes = {"seeds": [0], "steps": min(FIRST_STEPS, settings["steps"]), "dtype": torch.float64}
        if settings["section"] == "critic":
            run = train_critic(CRITIC_TASKS[settings["task"]], **arguments(settings, **changes))
        else:
            run = train_gan(gan_task(settings), **arguments(settings, **changes))
        values = run.losses[:, 0].tolist()
    return [float(f"{value:.10g}") for value in values]


def critic_row(settings: dict) -> dict:
    task = CRITIC_TASKS[settings["task"]]
    shown = [step for step in SHOWN_STEPS if step <= settings["steps"]]
    run = train_critic(task, **arguments(settings, snapshots=shown))
    row = {name: rounded(values) for name, values in judge_critic(run.critic, task).items()}
    row["curve"] = {str(step): rounded(estimate_distance(run.snapshots[step], task)) for step in shown}
    return row | {"losses": blocks(run.losses)}


def blocks(losses: torch.Tensor) -> list[float | None]:
    """The mean over seeds and `BLOCK` updates."""
    return rounded(losses[: len(losses) // BLOCK * BLOCK].unflatten(0, (-1, BLOCK)).mean(dim=(1, 2)))


def gan_row(settings: dict) -> dict:
    task = gan_task(settings)
    run = train_gan(task, **arguments(settings))
    row = judge_samples(generated(run.generator, SAMPLES), task)
    return {name: rounded(values) for name, values in row.items()} | {"losses": blocks(run.losses)}


def digits_row(settings: dict) -> dict:
    task = gan_task(settings)
    run = train_gan(task, **arguments(settings))
    features, samples = digits_features(), generated(run.generator, len(real_digits())).double().numpy()
    reference = features(real_digits())
    row = {"frechet": rounded(frechet_distance(features(own), reference) for own in samples)}
    return row | {"images": pack(samples[0, :IMAGES]), "losses": blocks(run.losses)}


def real_digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().data / 8 - 1


def autograd_row(settings: dict) -> dict:
    found = [
        autograd_gap(settings["scheme"], k, settings["points"], settings["step"]) for k in range(settings["seeds"])
    ]
    return dict(zip(("relative_error", "cosine"), map(rounded, zip(*found, strict=True)), strict=True))


def critic_snapshots(settings: dict) -> dict:
    task = CRITIC_TASKS[settings["task"]]
    shown = [step for step in SHOWN_STEPS if step <= settings["steps"]]
    run = train_critic(task, **arguments(settings, snapshots=shown))
    networks = {str(step): pack_critic(run.snapshots[step].network.single(0)) for step in shown}
    return {
        "parameters": networks,
        "estimate": {str(step): rounded(estimate_distance(run.snapshots[step], task))[0] for step in shown},
    }


def gan_frames(settings: dict) -> dict:
    task = gan_task(settings)
    frames = list(range(0, settings["steps"] + 1, FRAME))
    run = train_gan(task, **arguments(settings, snapshots=frames))
    row: dict[str, list] = {"frames": frames, "samples": [], "directions": [], "wasserstein1": []}
    for generator, critic in run.snapshots.values():
        x = generated(generator, FRAME_SAMPLES)
        mode = MODES.get(critic.scheme, "raw")
        eps = critic.strength if critic.scheme == "GraN" else 0.0
        row["samples"].append(pack(x[0]))
        row["directions"].append(pack(generator_direction(critic.network, x, mode, eps, batch_dims=2)[0]))
        row["wasserstein1"] += rounded(judge_samples(generated(generator, SAMPLES), task)["wasserstein1"])
    return row


def made(makers: dict[str, Callable[[dict], dict]]) -> Callable[[dict], dict]:
    """A maker of rows: the settings and what came out."""

    def make(settings: dict) -> dict:
        start = time.process_time()
        row = {"settings": settings} | makers[settings["section"]](settings)
        return row | {"first_losses": first_losses(settings), "seconds": round(time.process_time() - start, 2)}

    return make


def floor(task: GanTask, seed: int) -> float:
    """The distance of real points from real points."""
    real = torch.from_numpy(task.sample(SAMPLES, np.random.default_rng(seed)))
    return judge_samples(real[None], task)["wasserstein1"][0]


def common() -> dict:
    """What a perfect generator and a perfect critic would get."""
    features = digits_features()
    halves = np.random.default_rng(0).permutation(features(real_digits()))
    floors = {name: rounded(floor(task, seed) for seed in range(5)) for name, task in GAN_TASKS.items()}
    exact = ("wasserstein1", "total_variation", "best_continuous_gn")
    return {
        "floors": floors | {"digits": rounded([frechet_distance(halves[:898], halves[898:])])},
        "exact": {name: {key: getattr(task, key) for key in exact} for name, task in CRITIC_TASKS.items()},
        "steps_per_loss": BLOCK,
        "threads": torch.get_num_threads(),
    }


def main(given: list[str] | None = None) -> None:
    out, small = command_line(NAME, __doc__, given)
    rows, snapshots = cells(), snapshot_cells()
    if small:
        rows, snapshots = quick(rows), quick(snapshots)
    shapes = {"samples": [FRAME_SAMPLES, 2], "widths": "2, width, width, 1", "threads": torch.get_num_threads()}
    fill(
        out.with_stem(f"{out.stem}_snapshots"), snapshots, made({"critic": critic_snapshots, "gan": gan_frames}), shapes
    )
    makers = {"critic": critic_row, "gan": gan_row, "digits": digits_row, "autograd": autograd_row}
    fill(out, rows, made(makers), common())


if __name__ == "__main__":
    main()
