// Only what the pages mark as maths is typeset: code may hold \( too. The menu is not copied.
window.MathJax = {
  tex: {
    inlineMath: [["\\(", "\\)"]],
    displayMath: [["\\[", "\\]"]],
    packages: { "[-]": ["noundefined"] }, // an unknown command is an error, not red letters
  },
  options: { enableMenu: false, ignoreHtmlClass: ".*", processHtmlClass: "math" },
};
