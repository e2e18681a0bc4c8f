"""What a right answer to each exercise must satisfy: one module per notebook, named after its maths module."""
