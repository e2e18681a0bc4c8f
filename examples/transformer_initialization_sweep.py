"""Train every row of the table behind notebook 04's experiment, helpers/stored/transformer_initialization_sweep.json.

    OMP_NUM_THREADS=1 python examples/transformer_initialization_sweep.py            # about eight minutes on one core
    python examples/transformer_initialization_sweep.py --quick --out /tmp/try.json  # every row, two seeds, 20 steps

Results are written after every row, and rows that the file already holds are not trained again. Rows with the same
seed see the same batches: compare them seed by seed.
"""

import time
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from helpers.initialization import truncated_normal_variance
from helpers.lab.stored import command_line, fill
from helpers.residual import AlphaSchedule, MaskedLanguageModel, PermutationChain, train_mlm

VOCAB, LENGTH, D_MODEL = 16, 8, 64
DEFAULTS = {"layers": 4, "heads": 1, "lr": 1e-3, "warmup": 0, "alpha_steps": None, "steps": 200, "seeds": 5}
BLOCK = 10  # steps over which a stored loss is averaged
LAST = 20  # steps whose mean is called the final loss
FIRST_STEPS = 5  # whose losses, in float64 and for seed 0 alone, tell whether a stored row is still what the code does


def cells() -> list[dict]:
    """Settings of every row, in the order in which they are trained."""
    rows = []
    for placement, lr in (("pre", 1e-3), ("pre", 3e-3), ("post", 1e-3)):
        for attention in ("scaled", "unscaled", "t5", "split"):
            rows.append(DEFAULTS | {"placement": placement, "attention": attention, "lr": lr})
    schemes = [
        ("post", 0, None), ("post", 100, None), ("pre", 0, None), ("deepnorm", 0, None), ("rezero", 0, None),
        ("fixup", 0, None), ("post", 0, 150), ("pre", 0, 150), ("none", 0, 150),
    ]  # fmt: skip
    for placement, warmup, alpha_steps in schemes:
        deep = {"placement": placement, "attention": "scaled", "layers": 12, "heads": 4}
        rows.append(DEFAULTS | deep | {"warmup": warmup, "alpha_steps": alpha_steps})
    return [{"section": "attention" if row["layers"] == 4 else "branches"} | row for row in rows]


def build(settings: dict, seed: int, dtype: torch.dtype = torch.float32) -> MaskedLanguageModel:
    """The model of a row; its weights come from a normal law of std 1/√d_model cut off at two of these."""
    std = (truncated_normal_variance() / D_MODEL) ** 0.5
    return MaskedLanguageModel(
        VOCAB, LENGTH, settings["layers"], D_MODEL, settings["heads"], 4 * D_MODEL, settings["placement"], std,
        attention=settings["attention"], generator=torch.Generator().manual_seed(seed), dtype=dtype,
    )  # fmt: skip


def run(settings: dict, seed: int, steps: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Train one seed. A loss that is not finite ends the run; the rest then counts as that of a uniform guess."""
    model, probe = build(settings, seed, dtype), None
    if settings["alpha_steps"]:
        schedule = AlphaSchedule(settings["alpha_steps"])
        probe = lambda model, step: model.tower.set_alpha(schedule(step))  # noqa: E731
    losses = np.full(steps, np.log(VOCAB))
    chain = PermutationChain(VOCAB, noise=0.1, seed=0)
    options = {"length": LENGTH, "seed": seed, "probe": probe}
    with suppress(FloatingPointError):
        losses = train_mlm(model, chain, steps, settings["lr"], settings["warmup"], **options)["loss"]
    return {"loss": losses, "model": model}


def first_losses(settings: dict) -> list[float]:
    return [float(f"{loss:.10g}") for loss in run(settings, 0, FIRST_STEPS, torch.float64)["loss"]]


def train(settings: dict) -> dict:
    """One row: the settings and what came out."""
    start = time.perf_counter()
    runs = [run(settings, seed, settings["steps"]) for seed in range(settings["seeds"])]
    losses = np.array([each["loss"] for each in runs])
    row = {
        "settings": settings,
        "loss": losses.reshape(len(runs), -1, BLOCK).mean(axis=2).round(3).tolist(),
        "final": losses[:, -LAST:].mean(axis=1).round(4).tolist(),
    }
    if settings["placement"] == "rezero":
        alphas = np.array([[float(block.alpha.detach()) for block in each["model"].tower.blocks] for each in runs])
        row["largest_alpha"] = np.abs(alphas).max(axis=1).round(4).tolist()
    row["first_losses"] = first_losses(settings)
    return row | {"seconds": round(time.perf_counter() - start, 1)}


def main(given: list[str] | None = None) -> None:
    out, quick = command_line("transformer_initialization_sweep", __doc__, given)
    common = {
        "data": f"PermutationChain({VOCAB}, noise 0.1, seed 0), {LENGTH} tokens, batches of 32, 15 % masks, Adam",
        "threads": torch.get_num_threads(),
    }
    fill(
        out,
        [row | {"seeds": 2, "steps": 20} for row in cells()] if quick else cells(),
        train,
        common,
    )


if __name__ == "__main__":
    main()
