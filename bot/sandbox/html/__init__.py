"""What people see in Discord, as HTML documents that stand on their own."""

from bot.sandbox.html.message import WIDTH, Client

__all__ = ["WIDTH", "Client"]
