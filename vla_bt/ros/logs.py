"""What the engine logs, and the run log tells, in rclpy's log: each level at its own place, a kind at most once a second.

Promises: ``--log-level`` decides what is shown; what was left out is counted in the next line of its kind.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from rclpy.node import Node

from vla_bt.runlog.topics import Level

PERIOD_S = 1.0
KINDS_KEPT = 500
LEVELS = (
    (logging.CRITICAL, Level.FATAL),
    (logging.ERROR, Level.ERROR),
    (logging.WARNING, Level.WARNING),
    (logging.INFO, Level.INFO),
)


def teller(node: Node) -> Callable[[Level, str], None]:
    """Return what puts a line into a node's log."""
    logger = node.get_logger()

    def tell(level: Level, text: str) -> None:
        # rclpy ties a level to the line of code that logs.
        if level >= Level.FATAL:
            logger.fatal(text)
        elif level is Level.ERROR:
            logger.error(text)
        elif level is Level.WARNING:
            logger.warning(text)
        elif level is Level.INFO:
            logger.info(text)
        else:
            logger.debug(text)

    return tell


class RosHandler(logging.Handler):
    """Hands the records of Python's logging to a teller.

    Parameters
    ----------
    tell : callable
        Takes level and text.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, tell: Callable[[Level, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._tell, self._clock = tell, clock
        self._told: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record, unless one of its kind was told within the last second."""
        kind, now_s = f"{record.name}:{record.msg}", self._clock()
        if now_s - self._told.get(kind, -PERIOD_S) < PERIOD_S:
            self._untold[kind] += 1
            return
        if len(self._told) >= KINDS_KEPT:
            self._told.clear()
        self._told[kind] = now_s
        more = self._untold.pop(kind, 0)
        words = " ".join(record.getMessage().split())
        level = next((level for least, level in LEVELS if record.levelno >= least), Level.DEBUG)
        self._tell(level, f"{words} ({more} more like this meanwhile)" if more else words)


def take_over_logging(node: Node) -> logging.Handler:
    """Let a node's log have what this package's modules log; returns the handler, to be removed when the node ends."""
    handler = RosHandler(teller(node))
    own = logging.getLogger("vla_bt")
    own.addHandler(handler)
    own.setLevel(logging.DEBUG)  # rclpy filters
    own.propagate = False
    return handler
