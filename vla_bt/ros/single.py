"""One process of a kind to a runtime directory.

Promises: who holds a directory's lock holds it until it is closed or its process is gone, however it ends; the file itself stays
and says nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AnotherRunsError(RuntimeError):
    """A living process holds the directory; the message is one line."""


class DirectoryLock:
    """The lock ``<directory>/<kind>.lock``.

    Parameters
    ----------
    directory : Path
        The runtime directory.
    kind : str
        Of process, such as ``tree``.

    Raises
    ------
    AnotherRunsError
        When a living process of this kind holds the directory.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        self._file = os.open(directory / f"{kind}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise AnotherRunsError(
                f"another {kind} runs in {directory}; a second robot needs its own VLA_BT_RUNTIME_DIR"
            ) from None

    def close(self) -> None:
        """Let the next one in."""
        os.close(self._file)
