"""Pure rules of a request's life: no Twisted, thread, socket or clock is imported here."""
