"""Orders, with their prices: a module for asyncproxy."""
