"""What this process tells: structured logs, for people or a collector, and nothing to the makers of libraries."""

import logging
import os
import sys
from typing import TextIO

import structlog

from bot.settings import LogSettings

# discord.py logs each lost connection with a traceback, and stamina each retry: the rooms say both once.
_SILENT = ("discord.client", "stamina")

# Each looks here when it is imported; ONNX Runtime, which qdrant-client imports where fastembed is installed, tells
# Microsoft of each model it loads (https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md).
_UNTOLD = {"HF_HUB_DISABLE_TELEMETRY": "1", "MEM0_TELEMETRY": "False", "ORT_DISABLE_TELEMETRY": "1"}


def keep_private() -> None:
    """Let no library tell its makers that, or how, it is used. Call it before libraries are imported."""
    os.environ.update(_UNTOLD)


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
    # Libraries log requests, payloads and SQL parameters below a warning, and those are people's words.
    root.setLevel(logging.WARNING)
    logging.getLogger("bot").setLevel(settings.level.upper())
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class Outages:
    """Outages in the log: each is one line until its reason changes or it is over."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self._log = log
        self._told: dict[tuple[str, *tuple[int, ...]], str] = {}

    def began(self, event: str, reason: str, **ids: int) -> None:
        """Something cannot be done for now, and why; `ids` tell apart what it cannot be done for."""
        if self._told.get((event, *ids.values())) != reason:
            self._told[event, *ids.values()] = reason
            self._log.warning(event, reason=reason, **ids)

    def over(self, event: str, **ids: int) -> None:
        """It was done again."""
        self._told.pop((event, *ids.values()), None)
