"""The pictures that Explorers move: one module per notebook, named after its maths module."""
