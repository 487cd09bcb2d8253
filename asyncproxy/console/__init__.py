"""The console script `asyncproxy`: what an operator does from a terminal, over the admin listener.

    command.py    the command line, and the table of subcommands: a new one is a row there
    parking.py    the subcommands about parked requests: ps, resume, cancel, extend, drain
    advice.py     the subcommand advise, on the pool of workers, from what looks.py reads and erlang.py computes
    asking.py     requests to the admin listener, over TCP or a unix: socket
    tables.py     rows as aligned columns, fitted to a terminal
    values.py     what is typed as a ticket's value

It talks HTTP as anybody may and imports nothing of the proxy's rooms, so that it starts at once.
"""

from asyncproxy.console.command import main

__all__ = ["main"]
