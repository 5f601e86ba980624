"""Structured logs: lines for people or JSON for a collector, never with message content."""

import logging
import sys
from typing import TextIO

import structlog

from bot.settings import LogSettings

# Libraries log requests and payloads at info, and some warn of what is no fault of ours (no voice
# support) or what the rooms say better themselves (one line an outage, not one a retry).
_QUIET = {
    "discord": logging.WARNING,
    "discord.client": logging.CRITICAL,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "openai": logging.WARNING,
    "alembic": logging.WARNING,
    "uvicorn": logging.WARNING,
    "asyncio": logging.WARNING,
    "stamina": logging.ERROR,
}


def configure_logging(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Send structlog's events and the libraries' warnings through one renderer to `stream`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if settings.format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
