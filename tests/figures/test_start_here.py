"""Picture of notebook 00."""

import math

import numpy as np

from helpers.figures.start_here import CompoundGrowth
from helpers.lab.figures import blank


def test_power_and_gap_are_drawn():
    picture = CompoundGrowth(blank())
    caption = picture.update(n=4, x=2.0)
    assert caption == f"At x = 2.0: power 5.062 with n = 4, e^x = {math.e**2:.3f}, gap {math.e**2 - 1.5**4:.3f}."
    assert np.allclose(picture.power.get_ydata()[[0, 120, 240]], [0.25**4, 1, 1.75**4])
    assert np.allclose(picture.gap.get_xydata(), [[2, 1.5**4], [2, math.e**2]])
