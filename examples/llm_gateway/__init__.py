"""A gateway before a language model: it streams, users wait in line, and who leaves costs nothing."""
