"""THE ACCESS LOG'S THREAD: what requests did is written to a file here, so that a disk never holds anybody up."""
