"""Code that runs on worker threads: it may block and never touches a transport."""
