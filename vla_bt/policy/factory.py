"""From a name to a policy: ``expert``, a preset (``hybrid``, ``small@tiny``), or a folder written by ``save_policy``.

Promises: a wrong name is one line with the right ones; torch is imported only when a network is asked for. A preset is
built at the size its file gives for untrained use (``hybrid``: tiny, and then it calls itself ``hybrid@tiny``); ``NAME@full``
and ``NAME@tiny`` ask for a size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bt.policy.config import load_preset, preset_names
from vla_bt.policy.port import Policy
from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.sim.truth import Truth


def policy_names() -> list[str]:
    """Names that :func:`make_policy` knows."""
    return ["expert", *preset_names()]


def make_policy(name: str, truth: Callable[[], Truth | None] | None = None, seed: int = 0) -> Policy:
    """Return a policy.

    Parameters
    ----------
    name : str
        ``expert``; a preset, optionally with ``@full`` or ``@tiny``; or the path of a saved policy's folder.
    truth : callable, optional
        Returns the simulator's newest truth; only ``expert`` needs it.
    seed : int
        Of the random weights of a preset.

    Raises
    ------
    SettingsError
        With one line, when there is no such policy or it can't be built.
    """
    if name == "expert":
        if truth is None:
            raise SettingsError("policy expert drives by simulator truth, and there is none here; use it with the simulator")
        from vla_bt.policy.expert import ExpertPolicy

        return ExpertPolicy(truth)
    if "/" in name or Path(name).is_dir():
        from vla_bt.policy.saved import load_policy

        return load_policy(Path(name))
    preset, _, scale = name.partition("@")
    config = load_preset(preset, scale)
    from vla_bt.policy.runtime import NetworkPolicy

    return NetworkPolicy.untrained(config, seed)
