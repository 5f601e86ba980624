"""Slash commands and how their answers look."""
