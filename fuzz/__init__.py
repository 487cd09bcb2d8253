"""Coverage-guided fuzzing of the whole path, from a client's bytes to an upstream's and back, without a socket."""
