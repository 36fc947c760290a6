"""The real policy worker around a policy whose steps run out of memory: ``failing_worker.py KIND COUNT FILE`` and its own words.

KIND is ``python`` (MemoryError), ``torch`` (torch.OutOfMemoryError, as CUDA raises it) or ``kernel`` (SIGKILL). FILE counts the
starts: the first COUNT fail after :data:`STEPS` steps forward, later ones go on for ever.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from vla_bt.policy import factory, worker
from vla_bt.policy.port import PolicyInfo, PolicyStep

STEPS = 6
FORWARD = np.tile(np.array([0.2, 0.0, 0.0], np.float32), (8, 1))


class Hungry:
    """Drives forward until it fails."""

    info = PolicyInfo("expert", "runs out of memory", 0, 0, needs_frame=False)

    def __init__(self, kind: str, fails: bool) -> None:
        self._kind, self._fails, self._steps = kind, fails, 0
        self._error: Exception = MemoryError()
        if kind == "torch" and fails:  # now: it takes longer than a worker may be silent
            import torch

            self._error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def reset(self, goal: str) -> None:
        """Have no state."""

    def step(self, *_: object) -> PolicyStep:
        """Go forward, or fail."""
        self._steps += 1
        if self._fails and self._steps > STEPS:
            if self._kind == "kernel":
                os.kill(os.getpid(), signal.SIGKILL)
            raise self._error
        return PolicyStep(FORWARD, 0.1, 0.0)


def main() -> int:
    """Run the worker with that policy; returns its exit code."""
    kind, count, file = sys.argv[1:4]
    starts = int(Path(file).read_text()) if Path(file).exists() else 0
    Path(file).write_text(str(starts + 1))
    factory.make_policy = lambda *_: Hungry(kind, starts < int(count))
    return worker.main(sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
