"""Recollect: a self-hosted memory for Discord communities."""
