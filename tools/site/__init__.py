"""`make site`: the executed notebooks as web pages on which every Explorer can be played without a kernel."""
