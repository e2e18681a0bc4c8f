"""Picture of notebook 00: the tour of an Explorer."""

import numpy as np
from matplotlib.figure import Figure

from helpers.lab import style


class CompoundGrowth:
    """The powers (1 + x/n)^n closing in on e^x."""

    def __init__(self, figure: Figure) -> None:
        axes = figure.subplots()
        self.x = np.linspace(-3, 3, 241)
        axes.plot(self.x, np.exp(self.x), label="$e^x$", **style.series(0))
        self.power = axes.plot(self.x, self.x, label="$(1 + x/n)^n$", **style.series(4))[0]
        self.gap = axes.plot([], [], color=style.COLORS["grey"], marker="o", label="gap at the chosen x")[0]
        axes.set(xlim=(-3, 3), ylim=(-5, 21), xlabel="$x$", ylabel="value")
        axes.legend(loc="upper left")

    def update(self, n: int, x: float) -> str:
        """Draw the power for this n and the gap at this x."""
        self.power.set_ydata((1 + self.x / n) ** n)
        value = (1 + x / n) ** n
        self.gap.set_data([x, x], [value, np.exp(x)])
        return f"At x = {x:.1f}: power {value:.3f} with n = {n}, e^x = {np.exp(x):.3f}, gap {np.exp(x) - value:.3f}."
