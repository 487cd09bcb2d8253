"""A purchase that waits until a human has approved of it."""
