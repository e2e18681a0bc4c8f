"""A progress bar that leaves a stable sentence behind."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from IPython.display import display
from tqdm.notebook import tqdm


class _Bar:
    """The widget of a tqdm bar, saved with the notebook as its description only: digits of speed never repeat."""

    def __init__(self, container: object, description: str) -> None:
        self.container, self.description = container, description

    def __repr__(self) -> str:
        return self.description

    def _repr_mimebundle_(self, **options: object) -> dict:
        return self.container._repr_mimebundle_(**options) | {"text/plain": self.description}


def progress(iterable: Iterable, description: str, *, total: int | None = None) -> Iterable:
    """Iterate with a progress bar; for anything that takes more than about 3 s.

    Parameters
    ----------
    iterable : iterable
        What to loop over.
    description : str
        What is being done, and how much of it: ``"20 splits of 4 data sets"``.
    total : int, optional
        Number of steps where the iterable does not know its length.

    Examples
    --------
    >>> [step for step in progress(range(3), "three steps")]
    three steps
    [0, 1, 2]
    """
    bar = tqdm(iterable, desc=description, total=total, display=False)
    display(_Bar(bar.container, description))
    return bar


@contextmanager
def one_bar(
    progress: Callable[..., Iterable], total: int, description: str
) -> Iterator[Callable[[Iterable], Iterator]]:
    """One bar over several loops one after the other: each is wrapped, and `total` is the steps of all.

    Examples
    --------
    >>> with one_bar(progress, 5, "two loops") as counted:
    ...     [step for step in counted("ab")], [step for step in counted(range(3))]
    two loops
    (['a', 'b'], [0, 1, 2])
    """
    bar = iter(progress(range(total), description))

    def counted(steps: Iterable) -> Iterator:
        for step in steps:
            next(bar)
            yield step

    yield counted
    next(bar, None)  # ends it
