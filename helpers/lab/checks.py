"""One line per equation: both sides are compared, and the notebook stops when they differ."""

import numpy as np
from numpy.typing import ArrayLike


def check(lhs: ArrayLike, rhs: ArrayLike, name: str, *, rtol: float = 1e-9, atol: float = 0.0) -> None:
    """Compare the two sides of an equation and print one line that is the same on every machine.

    The sides agree when they have the same shape and every entry satisfies
    ``|lhs - rhs| <= atol + rtol * max|rhs|``: relative to the largest entry, so that an exact zero in a vector is not
    held to a relative precision. The printed line states the tolerance, not the measured error, which differs
    between processors.

    Parameters
    ----------
    lhs, rhs : array_like of numbers, same shape
        The two sides. Tensors are accepted when they can be converted to arrays.
    name : str
        What is compared, beginning with the number of the equation: ``"(3) the slope"``.
    rtol, atol : float
        Relative and absolute tolerance, not negative, not both zero.

    Raises
    ------
    AssertionError
        When the sides differ, with both of them and the place of the largest difference.
    ValueError
        When a tolerance is negative, both are zero, or both sides are the same object (such a check cannot fail).

    Examples
    --------
    >>> check(0.1 + 0.2, 0.3, "(1) three tenths")
    (1) three tenths: agree to 1e-09
    """
    if rtol < 0 or atol < 0 or rtol == atol == 0:
        raise ValueError(f"rtol and atol must be at least 0 and not both 0, got rtol={rtol}, atol={atol}")
    if lhs is rhs and not isinstance(lhs, int):  # Python keeps one object for each small integer
        raise ValueError(f"{name}: lhs and rhs are the same object, so this check cannot fail")
    left, right = (np.asarray(side.detach() if hasattr(side, "detach") else side) for side in (lhs, rhs))
    if left.shape != right.shape:
        raise AssertionError(f"{name}: shapes differ\n  left  {left.shape}\n  right {right.shape}")
    if left.size == 0:
        raise ValueError(f"{name}: both sides are empty, so this check cannot fail")
    with np.errstate(invalid="ignore"):  # inf - inf is a NaN, which fails below
        error = np.abs(left * 1.0 - right * 1.0)  # small integer types would wrap around
    allowed = atol + rtol * np.max(np.abs(right))
    if not (np.isfinite(allowed) and np.all(error <= allowed)):  # a NaN on either side fails here too
        worst = np.unravel_index(np.argmax(error), error.shape)
        place = f" at index {tuple(int(i) for i in worst)}" if left.ndim else ""
        raise AssertionError(
            f"{name}: the two sides differ by {error[worst]:.3g}{place}, allowed {allowed:.3g}"
            f"\n  left  {left[worst]!r}\n  right {right[worst]!r}"
        )
    tolerances = [f"{rtol:g}"] * (rtol > 0) + [f"{atol:g} (absolute)"] * (atol > 0)
    print(f"{name}: agree to {' + '.join(tolerances)}")
