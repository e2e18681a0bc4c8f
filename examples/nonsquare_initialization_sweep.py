"""Train every row of helpers/stored/nonsquare_initialization_sweep.json, the experiment of notebook 06.

    OMP_NUM_THREADS=1 python examples/nonsquare_initialization_sweep.py            # about eleven minutes on one core
    python examples/nonsquare_initialization_sweep.py --quick --out /tmp/try.json  # one row of every section

Results are written after every row, and rows that the file already holds are not trained again. All schemes of a
section have seen the same batches and, seed by seed, the same random numbers: compare them in pairs.
"""

import math
import time

import torch

from helpers.lab.stored import command_line, fill
from helpers.nonsquare_training import SCHEMES, digits_split, network_losses, network_outputs, train_networks

SHOWN = ("fan_in", "Xavier", "geometric", "orthogonal")  # trained at every depth
BLOCK = 8  # steps that one number of a stored loss curve is the mean of
FIRST_STEPS = 5  # whose losses, in float64 and for seed 0 alone, tell whether a stored row is still what the code does


def chain(blocks: int, wide: int = 256, narrow: int = 64) -> list[int]:
    """Widths of a classifier of digits: blocks of one wide and one narrow layer between 64 inputs and 10 classes."""
    return [64] + [wide, narrow] * blocks + [10]


def cells() -> list[dict]:
    """Settings of every row, in the order in which they are trained."""
    rows = []

    def add(section: str, scheme: str, widths: list[int], learning_rate: float, **others: object) -> None:
        plain = {"activation": "relu", "optimizer": "SGD", "epochs": 8, "seeds": 5, "last_scale": 1.0}
        rows.append(
            {"section": section, "scheme": scheme, "widths": widths, "learning_rate": learning_rate} | plain | others
        )

    for scheme in SCHEMES:
        for learning_rate in (0.01, 0.03, 0.1, 0.3):
            add("depth", scheme, chain(5), learning_rate)
    for blocks in (1, 3, 10):
        for scheme in SHOWN:
            for learning_rate in (0.01, 0.03, 0.1):
                add("depth", scheme, chain(blocks), learning_rate)
    for scheme in SCHEMES:
        for learning_rate in (3e-4, 1e-3, 3e-3, 1e-2):
            add("Adam", scheme, chain(5), learning_rate, optimizer="Adam", epochs=6)
        for learning_rate in (0.03, 0.1, 0.3):
            add("tanh", scheme, chain(5, narrow=16), learning_rate, activation="tanh")
        for last_scale in (1.0, 0.1):
            add(
                "autoencoder", scheme, [64, 32, 8, 32, 64], 1e-2,
                optimizer="Adam", epochs=15, seeds=8, last_scale=last_scale,
            )  # fmt: skip
    return rows


def quick_cells() -> list[dict]:
    """The first row of every section, with two seeds and an epoch."""
    first = {}
    for row in cells():
        first.setdefault(row["section"], row)
    return [row | {"seeds": 2, "epochs": 1} for row in first.values()]


def arguments(settings: dict) -> dict:
    """What train_networks is called with: without the section, a range for the number of seeds."""
    return {key: value for key, value in settings.items() if key != "section"} | {"seeds": range(settings["seeds"])}


def targets(settings: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The images themselves for the autoencoder."""
    return images if settings["section"] == "autoencoder" else labels


def first_losses(settings: dict, data: tuple) -> list[float]:
    changes = {"seeds": [0], "steps": FIRST_STEPS, "dtype": torch.float64}
    run = train_networks(data[0], targets(settings, *data[:2]), **arguments(settings) | changes)
    return [float(f"{loss:.10g}") for loss in run.losses[:, 0].tolist()]


def finite(values: torch.Tensor) -> list[float | None]:
    """Four digits each; None for a run that diverged."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]


def train(settings: dict, data: tuple) -> dict:
    """One row: the settings and what came out."""
    start = time.perf_counter()
    images, labels, test_images, test_labels = data
    run = train_networks(images, targets(settings, images, labels), **arguments(settings))
    outputs, test_outputs = (network_outputs(run.weights, x, settings["activation"]) for x in (images, test_images))
    row = {"settings": settings, "train_loss": finite(network_losses(outputs, targets(settings, images, labels)))}
    row["test_loss"] = finite(network_losses(test_outputs, targets(settings, test_images, test_labels)))
    if settings["section"] != "autoencoder":
        alive = torch.isfinite(test_outputs).all(dim=2).all(dim=1)
        right = (test_outputs.argmax(dim=2) == test_labels).double().mean(dim=1)
        row["test_accuracy"] = finite(torch.where(alive, right, torch.nan))
    blocks = run.losses[: len(run.losses) // BLOCK * BLOCK].unflatten(0, (-1, BLOCK)).mean(dim=1)
    row["losses"] = finite(blocks.median(dim=1).values)
    row["first_losses"] = first_losses(settings, data)
    return row | {"seconds": round(time.perf_counter() - start, 2)}


def main(given: list[str] | None = None) -> None:
    out, quick = command_line("nonsquare_initialization_sweep", __doc__, given)
    data = digits_split()
    common = {
        "data": "digits of scikit-learn, mean image subtracted, second moment 1; 1347 to train on, 450 to test",
        "steps_per_loss": BLOCK,
        "threads": torch.get_num_threads(),
    }
    fill(out, quick_cells() if quick else cells(), lambda settings: train(settings, data), common)


if __name__ == "__main__":
    main()
