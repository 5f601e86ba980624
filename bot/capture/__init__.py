"""From Discord's events to the queue: who is captured, what of it, and who may read it."""
