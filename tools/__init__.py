"""Commands that keep the collection in order; nothing here is needed to read it."""
