"""The watchdog's own thread: it looks at the other threads, reads only, and tells the log what keeps them."""
