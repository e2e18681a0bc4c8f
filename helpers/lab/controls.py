"""The controls of an Explorer: plain ipywidgets, made in one place so that all of them look and behave alike."""

import html
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import ipywidgets as widgets

DESCRIPTION_WIDTH = "11em"
_STYLE = {"description_width": DESCRIPTION_WIDTH}
_WIDTH = widgets.Layout(width="auto", max_width="100%")


def slider(
    description: str, low: float, high: float, step: float, *, value: float, continuous: bool = True
) -> widgets.IntSlider | widgets.FloatSlider:
    """Slider on an even grid; whole-numbered when low, high, step and value all are.

    Parameters
    ----------
    description : str
        A readable name and the symbol of the maths: ``"separation Δ"``.
    low, high, step, value : float
        Range, grid and start; ``low <= value <= high``.
    continuous : bool
        False for pictures that take more than about 100 ms: they then move when the slider is let go.

    Raises
    ------
    ValueError
        When the range is empty, the step is not positive, or value is outside the range.

    Examples
    --------
    >>> slider("separation Δ", 0.0, 6.0, 0.1, value=2.0).max
    6.0
    """
    if not low < high:
        raise ValueError(f"low must be below high, got low={low}, high={high}")
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    if not low <= value <= high:
        raise ValueError(f"value must lie in [{low}, {high}], got {value}")
    whole = all(isinstance(number, int) for number in (low, high, step, value))
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    decimals = {} if whole else {"readout_format": f".{max(_decimals(low), _decimals(step))}f"}
    return kind(
        description=description, min=low, max=high, step=step, value=value,
        continuous_update=continuous, style=_STYLE, layout=_WIDTH, **decimals,
    )  # fmt: skip


def _decimals(number: float) -> int:
    return max(0, -Decimal(str(number)).normalize().as_tuple().exponent)


def log_slider(
    description: str, low: float, high: float, *, value: float, base: float = 10.0, divisions: int = 10,
    continuous: bool = True,
) -> widgets.SelectionSlider:  # fmt: skip
    """Slider whose positions grow by a constant factor; whole-numbered when low, high and value are.

    The positions are ``low * base**(k / divisions)``, rounded to three significant digits unless divisions is 1, always
    with low, high and value themselves among them, so that each can be set exactly.

    Raises
    ------
    ValueError
        When ``0 < low < high``, ``low <= value <= high``, ``base > 1`` or ``divisions >= 1`` does not hold.

    Examples
    --------
    >>> [number for _, number in log_slider("batch size N", 2, 16, value=4, base=2, divisions=1).options]
    [2, 4, 8, 16]
    """
    if not 0 < low < high:
        raise ValueError(f"low and high must satisfy 0 < low < high, got low={low}, high={high}")
    if not low <= value <= high:
        raise ValueError(f"value must lie in [{low}, {high}], got {value}")
    if not (base > 1 and divisions >= 1):
        raise ValueError(f"base must exceed 1 and divisions be at least 1, got base={base}, divisions={divisions}")
    whole = all(isinstance(bound, int) for bound in (low, high, value))
    count = math.ceil(round(divisions * math.log(high / low, base), 9))
    exact = [low * base ** (k / divisions) for k in range(count)]
    grid = exact if divisions == 1 else [float(f"{position:.3g}") for position in exact]
    inside = {round(position) if whole else position for position in grid if low < position < high}
    positions = sorted(inside | {low, high, value})
    return widgets.SelectionSlider(
        description=description, options=[(f"{position:.6g}", position) for position in positions], value=value,
        continuous_update=continuous, style=_STYLE, layout=_WIDTH,
    )  # fmt: skip


def choice(
    description: str, options: Sequence[str] | Mapping[str, object], *, value: object = None
) -> widgets.ToggleButtons | widgets.Dropdown:
    """One of several: buttons side by side up to four options, a drop-down list beyond.

    A mapping shows its keys and hands its values to the picture. The first option is the default.

    Raises
    ------
    ValueError
        When there are fewer than two options or value is not one of them.

    Examples
    --------
    >>> choice("data", ["iris", "wine"]).value
    'iris'
    """
    values = list(options.values()) if isinstance(options, Mapping) else list(options)
    if len(values) < 2:
        raise ValueError(f"options must hold at least two entries, got {options!r}")
    if value is not None and value not in values:
        raise ValueError(f"value must be one of {values}, got {value!r}")
    pairs = list(options.items()) if isinstance(options, Mapping) else values
    kind = widgets.ToggleButtons if len(values) <= 4 else widgets.Dropdown
    button = {"button_width": "auto"} if kind is widgets.ToggleButtons else {}
    control = kind(
        description=description, options=pairs, value=values[0] if value is None else value,
        style=_STYLE | button, layout=_WIDTH,
    )  # fmt: skip
    control.add_class("widget-inline-hbox")  # the description beside the buttons, as every other control has it
    return control


def toggle(description: str, *, value: bool = False) -> widgets.Checkbox:
    """Something that is on or off.

    Examples
    --------
    >>> toggle("show the Bayes line", value=True).value
    True
    """
    return widgets.Checkbox(description=description, value=value, style=_STYLE, layout=_WIDTH)


def text(description: str, *, value: str) -> widgets.Text:
    """A line of text; the picture moves when the reader presses Enter or leaves the field.

    Examples
    --------
    >>> text("sentence", value="the film was good").value
    'the film was good'
    """
    return widgets.Text(description=description, value=value, continuous_update=False, style=_STYLE, layout=_WIDTH)


class Job(widgets.HBox):
    """The button of an Explorer for work that takes over a second, and beside it a bar whose place is always kept.

    The bar is HTML's own ``<progress>``, because it tells a screen reader its name and its value; that of ipywidgets
    tells neither.

    Examples
    --------
    >>> [step for step in Job("Train 3 seeds now").progress(range(3), "3 seeds")]
    [0, 1, 2]
    """

    def __init__(self, description: str) -> None:
        self.button = widgets.Button(description=description, icon="play", layout=widgets.Layout(width="auto"))
        self.bar = widgets.HTML(layout=widgets.Layout(flex="1 1 0%", min_width="0", visibility="hidden"))
        margin = f"0 0 0 calc({DESCRIPTION_WIDTH} + 6px)"  # the button begins where the sliders do
        # A row of its own; not grid_column, which the page loses again when it sets grid_area to nothing.
        layout = widgets.Layout(grid_area="auto / 1 / auto / -1", align_items="center", margin=margin)
        super().__init__([self.button, self.bar], layout=layout)

    def progress(self, iterable: Iterable, description: str, *, total: int | None = None) -> Iterator:
        """Iterate and move the bar, which is called as `helpers.lab.progress` is; without a total it only swings."""
        total = total or operator.length_hint(iterable)
        self._show(description, 0, total)
        self.bar.layout.visibility = "visible"
        for done, step in enumerate(iterable, 1):
            yield step
            self._show(description, done, total)

    def hide(self) -> None:
        """Put the bar away."""
        self.bar.layout.visibility = "hidden"

    def _show(self, description: str, done: int, total: int) -> None:
        # Whole percents, so that ten thousand steps are not ten thousand messages: an equal value is not sent again.
        value = f'value="{100 * done // total}"' if total else ""
        name = html.escape(description)
        name = f'aria-label="{name}" title="{name}"'
        self.bar.value = f'<progress style="width: 100%" {name} max="100" {value}></progress>'


def positions(control: widgets.Widget, limit: int = 24) -> list:
    """Values at which a control is tested: both ends and, up to `limit`, everything in between.

    A text field has only the value it starts with: its tests pass the texts that matter to ``Explorer.set``.
    """
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
    elif hasattr(control, "min"):
        count = math.ceil(round((control.max - control.min) / control.step, 9))
        values = [control.min + k * control.step for k in range(count)] + [control.max]
    elif isinstance(control.value, bool):
        values = [False, True]
    else:
        values = [control.value]
    if len(values) <= limit:
        return values
    return [values[round(k * (len(values) - 1) / (limit - 1))] for k in range(limit)]


def validate(name: str, control: widgets.Widget, value: object) -> None:
    """Refuse a value that the control would silently clip or round away.

    Raises
    ------
    ValueError
        Naming the control, what it allows and what it got.
    """
    if hasattr(control, "options"):
        allowed = positions(control, limit=10**6)
        if value not in allowed:
            shown = ", ".join(map(repr, allowed[:8])) + (", …" if len(allowed) > 8 else "")
            raise ValueError(f"{name} must be one of {shown}; got {value!r}")
    elif hasattr(control, "min"):
        whole = isinstance(control, widgets.IntSlider)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ValueError(f"{name} must be a {'whole ' if whole else ''}number; got {value!r}")
        if not control.min <= value <= control.max:
            raise ValueError(f"{name} must lie in [{control.min}, {control.max}]; got {value!r}")
    elif type(value) is not type(control.value):
        raise ValueError(f"{name} must be a {type(control.value).__name__}; got {value!r}")


def is_slider(control: widgets.Widget) -> bool:
    """Whether a control is moved along a track.

    Examples
    --------
    >>> is_slider(log_slider("n", 1, 100, value=1)), is_slider(toggle("show"))
    (True, False)
    """
    return isinstance(control, widgets.IntSlider | widgets.FloatSlider | widgets.SelectionSlider)


def shown(control: widgets.Widget) -> str:
    """The value of a control as a reader sees it.

    Examples
    --------
    >>> shown(toggle("show")), shown(log_slider("n", 1, 100, value=10)), shown(choice("data", {"few": 3, "many": 9}))
    ('off', '10', 'few')
    """
    if isinstance(control, widgets.SelectionSlider | widgets.ToggleButtons | widgets.Dropdown):
        option = control.options[control.index]  # a SelectionSlider's label is empty until it has moved
        return str(option[0] if isinstance(option, tuple) else option)
    if isinstance(control.value, bool):
        return "on" if control.value else "off"
    return f"{control.value:.6g}" if isinstance(control.value, float) else str(control.value)
