"""Why a worker ended, in words a person can act on."""

from __future__ import annotations

from pathlib import Path

USER_MISTAKE = 2  # exit code: trying again won't mend it
OUT_OF_MEMORY = 3  # exit code: less of the policy may fit


def cause_of(code: int, log: Path) -> str:
    """Describe an exit code as ``subprocess`` gives it (negative: a signal), with the last line of the log if it failed."""
    if code < 0:
        return f"killed by signal {-code}"
    try:
        lines = log.read_bytes()[-2000:].decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"ended with code {code}" + (f": {last[:300]}" if last and code else "")
