"""From a name to a policy: ``default``, ``expert``, a preset (``hybrid``, ``small@tiny``), or a folder of ``save_policy``.

Promises: a wrong name is one line with the right ones; torch is imported only when a network is asked for; what would not fit
into memory is refused before it is loaded. A preset whose trained weights are shipped loads them; another is built at random, at
the size its file gives for untrained use (``hybrid``: tiny, and then it calls itself ``hybrid@tiny``); ``NAME@full`` and
``NAME@tiny`` ask for random weights of a size; ``NAME@int8``, ``FOLDER@bf16+layers6`` and the like shrink it
(``vla_bt.policy.shrinking``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bt.policy.config import PolicyConfig, load_preset, preset_names
from vla_bt.policy.names import DEFAULT, SCALES, is_path, shipped, split_name
from vla_bt.policy.port import Policy
from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.policy.runtime import NetworkPolicy
    from vla_bt.policy.shrinking import Shrink
    from vla_bt.sim.truth import Truth


def make_policy(name: str, truth: Callable[[], Truth | None] | None = None, seed: int = 0) -> Policy:
    """Return a policy.

    Parameters
    ----------
    name : str
        ``default``, ``expert``; a preset or the path of a saved policy's folder, optionally with ``@full``, ``@tiny`` (presets)
        and ``@bf16``, ``@int8+layers6``, ... after it.
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
    return make_network_policy(name, seed)


def make_network_policy(
    name: str,
    seed: int = 0,
    how: str = "",
    *,
    config: PolicyConfig | None = None,
    allow_missing: bool = False,
    check_memory: bool = True,
) -> NetworkPolicy:
    """Return a policy that is a network, if it fits into memory.

    Parameters
    ----------
    name : str
        As for :func:`make_policy`; also a weight file, which needs ``config``.
    how : str
        How to shrink it, beside what the name says.
    config : PolicyConfig, optional
        What a weight file is the weights of.
    allow_missing : bool
        Start what a weight file lacks at random instead of refusing.
    check_memory : bool
        Refuse what would not fit.
    """
    base, scale, words = split_name(name)
    base = DEFAULT if base == "default" else base
    weights = None if scale or is_path(base) else shipped(base)
    base = str(weights) if weights else base
    if not is_path(base) and base not in preset_names():
        load_preset(base)  # says which there are
    if words and not is_path(base):
        _check_words(base, words)
    from vla_bt.policy.plan import check
    from vla_bt.policy.runtime import NetworkPolicy
    from vla_bt.policy.shrinking import Shrink, shrink

    shrinking = Shrink.parse("+".join(filter(None, (words, how))))
    path = Path(base).expanduser()
    if not is_path(base):
        preset = load_preset(base, scale)
        if check_memory:
            check(preset, shrinking)
        policy = NetworkPolicy.untrained(preset, seed)
    elif path.is_dir() or config is None:
        policy = _from_folder(path, shrinking, check_memory)
    else:
        from vla_bt.policy.loading import load_weights

        if check_memory:
            check(config, shrinking, stored=path)
        policy = load_weights(path, config, allow_missing=allow_missing)
    return shrink(policy, shrinking)


def _check_words(preset: str, words: str) -> None:
    from vla_bt.policy.shrinking import Shrink

    try:
        Shrink.parse(words)
    except SettingsError as error:
        raise SettingsError(f"policy {preset}@{words}: {error}; sizes: {', '.join(SCALES)}") from None


def _from_folder(path: Path, shrinking: Shrink, check_memory: bool) -> NetworkPolicy:
    from vla_bt.policy.plan import check
    from vla_bt.policy.saved import WEIGHTS, load_policy, read_card

    if path.is_file():
        raise SettingsError(f"{path}: a weight file alone does not say what it is; see: vla-bt policy inspect {path}")
    if check_memory:
        card = read_card(path)
        check(card.config, shrinking, stored=path / WEIGHTS, exact=card.models)
    return load_policy(path)
