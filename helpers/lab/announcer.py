"""What an Explorer tells a screen reader, and ipywidgets cannot: a new caption, the names of sliders and picture."""

import anywidget
from traitlets import Unicode

# ipywidgets.HTML replaces its whole content, and a live region that is itself replaced is announced by few screen
# readers: this one stays. Where it is alive, the visible caption need not be read a second time.
_FRONT_END = """
export default {
  render({ model, el }) {
    el.setAttribute("role", "status");
    el.setAttribute("aria-live", "polite");
    el.setAttribute("aria-atomic", "true");
    const say = () => { el.textContent = model.get("sentence"); };
    model.on("change:sentence", say);
    say();

    const set = (part, name, value) => {
      if (part && part.getAttribute(name) !== value) part.setAttribute(name, value);
    };
    const mend = (box) => {
      for (const handle of box.querySelectorAll("[role=slider]")) {
        let control = handle.parentElement;
        while (control !== box && !control.querySelector(".widget-label")) control = control.parentElement;
        set(handle, "aria-label", control.querySelector(".widget-label")?.textContent ?? "");
        const readout = control.querySelector(".widget-readout")?.textContent;  // else a log slider tells its position
        if (readout) set(handle, "aria-valuetext", readout);
      }
      set(box.querySelector("img.widget-image"), "alt", "The picture that the caption below it puts in numbers");
      set(box.querySelector(".movable-caption"), "aria-hidden", "true");
    };
    let watch, timer;
    const begin = () => {
      const box = el.closest(".movable-explorer");
      if (!box) { timer = setTimeout(begin, 50); return; }  // not on the page yet
      watch = new MutationObserver(() => mend(box));
      const attributeFilter = ["aria-valuetext"];
      watch.observe(box, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter });
      mend(box);
    };
    begin();
    return () => { clearTimeout(timer); watch?.disconnect(); };
  },
};
"""
_LOOK = ".movable-announcer { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }"


class Announcer(anywidget.AnyWidget):
    """Unseen text that a screen reader reads out whenever it changes.

    Examples
    --------
    >>> Announcer(sentence="n is 5").sentence
    'n is 5'
    """

    _esm = _FRONT_END
    _css = _LOOK
    sentence = Unicode().tag(sync=True)

    def __init__(self, **traits: str) -> None:
        super().__init__(**traits)
        self.add_class("movable-announcer")
