"""What every notebook shares: Explorer and its controls, checks, claims, exercises, figures, style, data."""

from helpers.lab import data, style
from helpers.lab.checks import check
from helpers.lab.claims import Claim, claims
from helpers.lab.controls import choice, log_slider, slider, text, toggle
from helpers.lab.environment import self_test
from helpers.lab.exercises import Exercise, WrongAnswer, exercise, grade
from helpers.lab.explorer import Explorer
from helpers.lab.figures import figure, legend_below, still, subplots
from helpers.lab.progress import progress
from helpers.lab.source import show_source
from helpers.lab.stored import Stored

__all__ = [
    "Claim",
    "Exercise",
    "Explorer",
    "Stored",
    "WrongAnswer",
    "check",
    "choice",
    "claims",
    "data",
    "exercise",
    "figure",
    "grade",
    "legend_below",
    "log_slider",
    "progress",
    "self_test",
    "show_source",
    "slider",
    "still",
    "style",
    "subplots",
    "text",
    "toggle",
]
