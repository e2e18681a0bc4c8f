"""Explorer: the one way to make a picture movable."""

import html
import time
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from helpers.lab.announcer import Announcer
from helpers.lab.controls import DESCRIPTION_WIDTH, Job, is_slider, shown, validate
from helpers.lab.figures import StaticTwin, blank, pixels, png
from helpers.lab.sweep import sweep

_IMPATIENCE = 0.3  # seconds after a run in which a press of its button is one that was made during the run


class Picture(Protocol):
    """What an Explorer moves: axes and artists made once, data set on them ever after."""

    def update(self, **values: Any) -> str:
        """Set the data of the existing artists and return a one-line caption with the key numbers."""


class Explorer(widgets.VBox):
    """A picture, its controls, a caption that follows and a reset button.

    Displayed, it carries the live widget, a PNG and a sentence at once, so that a reader without a kernel sees the
    picture at its defaults. When a control moves, only the artists that lie inside axes are drawn again over a kept
    background; a change of anything else (a limit, a tick, a title) is noticed and the background made anew.

    Work of more than a second goes behind a button: with ``run``, the picture also has a method
    ``run(progress, **values) -> str`` that does it and returns a caption. ``progress`` is called like
    `helpers.lab.progress` and moves a bar beside the button; meanwhile nothing can be moved, and a press does nothing.

    Parameters
    ----------
    picture : callable, Figure -> Picture
        Usually the class of the picture. It may set the figure's height; the width is that of the collection.
    run : str, optional
        What the button says: ``"Train 3 seeds now"``.
    main : str, optional
        Name of the control that carries the idea; pages without a kernel let the reader play it. By default the first
        slider, or the first control where none is a slider.
    **controls : ipywidgets
        Made by `slider`, `log_slider`, `choice`, `toggle` or `text`; the names are the arguments of ``update``.

    Raises
    ------
    TypeError
        When there is no control, ``update`` or ``run`` does not return a sentence, or ``run`` has no text or no method.
    ValueError
        When ``main`` is not the name of a control.
    Exception
        Whatever ``update`` or ``run`` raises is shown in place of the caption and raised again, so that a test sees it.

    Examples
    --------
    >>> from helpers.lab import slider
    >>> class Power:
    ...     def __init__(self, figure):
    ...         self.line, = figure.subplots().plot([0, 0.5, 1], [0, 0, 1])
    ...     def update(self, n):
    ...         self.line.set_ydata([0, 0.5**n, 1])
    ...         return f"0.5 to the power {n} is {0.5**n:.3g}"
    >>> Explorer(Power, n=slider("exponent n", 1, 8, 1, value=2))
    0.5 to the power 2 is 0.25
    """

    def __init__(
        self,
        picture: Callable[[Figure], Picture],
        *,
        run: str | None = None,
        main: str | None = None,
        **controls: widgets.Widget,
    ) -> None:
        if not controls:
            raise TypeError("an Explorer needs at least one control, got none")
        if run is not None and not (isinstance(run, str) and run.strip()):
            raise TypeError(f"run must be the text of the button, got {run!r}")
        for name, control in controls.items():
            if not isinstance(control, widgets.ValueWidget):
                raise TypeError(f"{name} must be a control made by slider, choice, …; got {control!r}")
        if main is not None and main not in controls:
            raise ValueError(f"main must be one of {', '.join(controls)}; got {main!r}")
        self.main = main or next(
            (name for name, control in controls.items() if is_slider(control)), next(iter(controls))
        )
        self.controls = controls
        self.figure = blank()
        self.picture = picture(self.figure)
        if run is not None and not callable(getattr(self.picture, "run", None)):
            raise TypeError(f"run={run!r} needs a method {type(self.picture).__name__}.run(progress, **values)")
        self._initial = self.values
        self._background = None
        self._paused = False
        self._ran_until = float("-inf")
        self.caption = self._sentence("update")
        self._settings = self._describe()
        self.figure.canvas.draw()  # the layout is solved once, with the default caption and ticks in place
        self.figure.set_layout_engine("none")
        self.frame = self.draw()
        height, width, _ = self.frame.shape
        self._image = widgets.Image(
            value=png(self.frame), format="png", width=width, height=height,
            layout=widgets.Layout(width=f"{width}px", max_width="100%", height="auto"),
        )  # fmt: skip
        # Three lines, whatever the sentence: the output must not change its height.
        self._caption = widgets.HTML(
            layout=widgets.Layout(height="4.8em", overflow="auto", width="100%", max_width=f"{width}px")
        )
        self._caption.add_class("movable-caption")
        self._announcer = Announcer()
        self._say(self.caption)
        reset = widgets.Button(
            description="Reset", tooltip="Put every control back to its default", icon="undo",
            layout=widgets.Layout(width="8em", margin=f"2px 2px 2px calc({DESCRIPTION_WIDTH} + 8px)"),
        )  # fmt: skip
        reset.on_click(lambda _: self.reset())
        for control in controls.values():
            control.observe(self._on_move, names="value")
        grid = widgets.Layout(
            display="grid", grid_template_columns="repeat(auto-fit, minmax(min(100%, 26em), 1fr))", grid_gap="0 1em",
            align_items="center", width="100%", max_width=f"{width}px",
        )  # fmt: skip
        self._movable = [*controls.values(), reset]
        self.job = None if run is None else Job(run)
        if self.job is not None:
            self.job.button.on_click(self._on_press)
        parts = self._movable if self.job is None else [*self._movable, self.job]
        super().__init__([widgets.Box(parts, layout=grid), self._image, self._caption, self._announcer])
        self.add_class("movable-explorer")

    @property
    def values(self) -> dict[str, Any]:
        """Current value of every control, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: Any) -> None:
        """Move several controls at once, as a reader would, with one update of the picture.

        Raises
        ------
        ValueError
            When a name is not a control, or a value is one that the control cannot take.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"{name!r} is not a control; there are {', '.join(self.controls)}")
            validate(name, self.controls[name], value)
        self._paused = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._paused = False
        self._on_move()

    def reset(self) -> None:
        """Put every control back to its default."""
        self.set(**self._initial)

    def run(self) -> None:
        """Press the button: let the picture do its long work at the present values.

        Raises
        ------
        TypeError
            When the Explorer has no button.
        """
        if self.job is None:
            raise TypeError("there is no button to press: the Explorer was made without run")
        for widget in self._movable:
            widget.disabled = True
        try:
            self._show("run", self.job.progress, failed="The run failed.")
        finally:
            self.job.hide()
            for widget in self._movable:
                widget.disabled = False
            self._ran_until = time.monotonic()

    def sweep(self, n_random: int = 8) -> int:
        """Try every control over its whole range, and random positions of all; see `helpers.lab.sweep.sweep`."""
        return sweep(self, n_random)

    def draw(self) -> np.ndarray:
        """Pixels of the figure now, shape (height, width, 3): moving artists over the kept background."""
        canvas = self.figure.canvas
        if self._background is None or self.figure.stale:
            for artist in self._moving():  # update may have made new ones
                artist.set_animated(True)
            canvas.draw()
            self._background = canvas.copy_from_bbox(self.figure.bbox)
        canvas.restore_region(self._background)
        renderer = canvas.get_renderer()
        for artist in sorted(self._moving(), key=lambda artist: artist.get_zorder()):
            artist.draw(renderer)
        self.figure.stale = False
        return pixels(self.figure)

    def redraw(self) -> np.ndarray:
        """Pixels with the background made anew; equal to `draw` unless a change went unnoticed."""
        self._background = None
        return self.draw()

    def _moving(self) -> list:
        return [
            artist
            for axes in self.figure.axes
            if axes.get_label() != "<colorbar>"
            for artist in [*axes.images, *axes.collections, *axes.patches, *axes.lines, *axes.texts, axes.get_legend()]
            if artist is not None
        ]

    def _sentence(self, method: str, *given: Any) -> str:
        caption = getattr(self.picture, method)(*given, **self.values)
        if not isinstance(caption, str) or not caption.strip():
            raise TypeError(f"{type(self.picture).__name__}.{method} must return a sentence, got {caption!r}")
        return caption

    def _on_move(self, _change: object = None) -> None:
        if not self._paused:
            self._show("update", failed="This position failed.")

    def _on_press(self, _button: object) -> None:
        # The button stays enabled while it works, else it would lose the keyboard's focus. Presses of that time have
        # waited for the kernel and come in right after the run.
        if time.monotonic() - self._ran_until > _IMPATIENCE:
            self.run()

    def _show(self, method: str, *given: Any, failed: str) -> None:
        try:
            caption = self._sentence(method, *given)
            self.frame = self.draw()
            self._image.value = png(self.frame)
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}", failed)
            raise
        self.caption, self._settings = caption, self._describe()  # of the picture that is shown, also after a failure
        self._say(self.caption)

    def _describe(self) -> str:
        return "; ".join(f"{control.description} = {shown(control)}" for control in self.controls.values())

    def _say(self, sentence: str, problem: str = "") -> None:
        mark = f"<b>{problem}</b> " if problem else ""
        style = "margin: 0; line-height: 1.5"  # a notebook's own paragraphs stand further apart
        self._caption.value = f'<p style="{style}">{mark}{html.escape(sentence)}</p>'
        self._announcer.sentence = f"{problem} {sentence}".strip()

    def __repr__(self) -> str:
        return self.caption

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        sentence = f"{self.caption} [{self._settings}; run the cell to move it]"
        data, metadata = StaticTwin(self.frame, sentence)._repr_mimebundle_()
        live = super()._repr_mimebundle_(**options)
        return live | data, metadata
