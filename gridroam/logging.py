"""Logs on standard error: readable lines, or one JSON object a line; secrets never in either."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog

SECRET_WORDS = ("secret", "password", "authorization", "token", "private")
HIDDEN = "[redacted]"
# In running text: the password of a URL, what an Authorization header carries, a JWT by itself
# (an access token, an assertion about a call or of a client), and a private key.
PASSWORD_OF_URL = re.compile(r"(\w://[^\s:/@]*):[^\s@]+@")
CREDENTIAL = re.compile(r"\b(Bearer|Basic) +[\w.~+/=-]{8,}", re.IGNORECASE)
JWT = re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]+\.[\w-]*")
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_HIDING = (
    (PASSWORD_OF_URL, rf"\1:{HIDDEN}@"),
    (CREDENTIAL, rf"\1 {HIDDEN}"),
    (JWT, HIDDEN),
    (PRIVATE_KEY, HIDDEN),
)


def redact(_logger: Any, _method: str, event: Any) -> Any:
    """Blank every value whose name says that it is a secret, and what looks like one in texts."""
    return _redacted(event)


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: HIDDEN
            if any(word in str(name).lower() for word in SECRET_WORDS)
            else _redacted(v)
            for name, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(one) for one in value]
    if isinstance(value, str):
        for pattern, told in _HIDING:
            value = pattern.sub(told, value)
    return value


LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(log_format: str, level: str = "info") -> None:
    """One pipeline for our own log lines and those of the libraries, from `level` upward."""
    lowest = LEVELS[level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                last,
            ],
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(lowest)
    # One line for each connection of ten thousand charge points is no news.
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
