"""The maths of the notebooks, one module per subject; `import helpers` itself imports nothing heavy."""
