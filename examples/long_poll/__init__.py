"""Channels: GET waits for the next message, POST publishes one."""
