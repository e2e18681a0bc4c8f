"""Pictures and exercises of the example lesson, and broken ones that the tests must notice."""

from helpers.lab import Exercise, style


class Power:
    """The parabola's cousins."""

    def __init__(self, figure):
        self.axes = figure.subplots()
        (self.line,) = self.axes.plot([0, 0.5, 1], [0, 0, 1], **style.series(0))

    def update(self, n):
        self.line.set_ydata([0, 0.5**n, 1])
        return f"0.5 to the power {n} is {0.5**n:.3g}"


class Renamed(Power):
    """The same sentence below another picture."""

    def __init__(self, figure):
        super().__init__(figure)
        self.axes.set_xlabel("a label nobody saved")


class Dead(Power):
    def update(self, n):
        return super().update(2)


class BreaksAtThree(Power):
    def update(self, n):
        return super().update(n if n != 3 else "three")


class HoldsNaN(Power):
    def update(self, n):
        self.line.set_ydata([0, float("nan") if n == 4 else 0.5, 1])
        return f"the power is {n}"


class SaysNaN(Power):
    def update(self, n):
        return super().update(n).replace("0.0625", "nan")


class Speechless(Power):
    def update(self, n):
        return super().update(n) if n != 5 else ""


class Remembers(Power):
    seen = 0

    def update(self, n):
        self.seen += 1
        return f"{super().update(n)}, move {self.seen}"


def _draw(rng):
    return {"x": float(rng.uniform(1, 9))}


double = Exercise("Exercise 1: double it", _draw, {"is twice x": lambda answer, x: abs(answer - 2 * x) < 1e-9})
halve = Exercise("Exercise 2: halve it", _draw, {"is half of x": lambda answer, x: abs(2 * answer - x) < 1e-9})
too_kind = Exercise("Exercise 2: halve it", _draw, {"is below x": lambda answer, x: answer <= x})
