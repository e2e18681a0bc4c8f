// Playable figures: a slider moves through frames that were drawn beforehand; the caption follows.
"use strict";

function makePlayable(figure) {
  const slider = figure.querySelector("input");
  const picture = figure.querySelector("img");
  const caption = figure.querySelector("[aria-live]");
  const shownValue = figure.querySelector(".value");
  const { values, captions } = JSON.parse(figure.querySelector("script").textContent);
  const address = (k) => `${figure.dataset.frames}/${k}.webp`;
  const frames = [];

  const load = () => {
    if (frames.length) return;
    for (let k = 0; k < values.length; k++) {
      frames[k] = new Image();
      frames[k].src = address(k);
    }
  };
  const show = () => {
    const k = Number(slider.value);
    load();
    picture.src = address(k);
    slider.setAttribute("aria-valuetext", values[k]);
    shownValue.textContent = values[k];
    caption.textContent = captions[k];
  };

  slider.addEventListener("input", show);
  figure.querySelector(".reset").addEventListener("click", () => {
    slider.value = figure.dataset.start;
    show();
  });
  slider.value = figure.dataset.start; // a reload keeps what the form held
  figure.querySelector(".play").hidden = false;
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    load();
  }, { rootMargin: "600px" }).observe(figure);
}

// What scrolls sideways must be reachable by keyboard: code, tables and long formulas on a narrow page.
function letScrollByKey() {
  const boxes = document.querySelectorAll(".content pre, .table-wrapper, div.math, .output");
  for (const box of boxes) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.tabIndex = 0;
      box.dataset.scrolls = "";
    } else if (!scrolls && "scrolls" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.scrolls;
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("figure.playable").forEach(makePlayable);
  letScrollByKey();
});
window.addEventListener("load", () => {
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(letScrollByKey);
});
window.addEventListener("resize", letScrollByKey);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const drawer of document.querySelectorAll(".sidebar-toggle:checked")) {
    drawer.checked = false;
    drawer.focus();
  }
});
