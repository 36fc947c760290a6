"""A step that also tells what the network wanted before it was limited. Needs no torch: it travels to the tree."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_bt.policy.port import PolicyStep


@dataclass(frozen=True)
class NetworkStep(PolicyStep):
    """A network's step.

    ``raw_actions`` is of the shape and units of ``actions``; empty when nobody told. Where one is not finite, ``actions`` is
    not either: it is handed on to be refused, not hidden by a limit.
    """

    raw_actions: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
