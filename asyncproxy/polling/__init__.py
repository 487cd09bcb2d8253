"""Code that runs on the polling thread only and never blocks it."""
