"""A payment that its bank confirms later, by a webhook, while the client waits for one answer."""
