"""The demo: ``make run`` serves it, ``make demo`` is the headline as a show."""
