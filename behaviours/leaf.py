"""``Leaf``: the base of every leaf of this tree.

Promises: a leaf can only read and write the blackboard keys it declares in ``READS`` and ``WRITES``; a value past its time to
live reads as ``STALE``. A leaf renders with no robot; what it needs from outside arrives in ``setup(resources=...)``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard
from py_trees.common import Access

from vla_bt.contract import KEYS, STALE, Stamped
from vla_bt.resources import Resources
from vla_bt.settings import TreeSettings


class Leaf(Behaviour):
    """A leaf bound to the blackboard contract.

    Parameters
    ----------
    name : str
        Display name, a short phrase.
    """

    READS: ClassVar[tuple[str, ...]] = ()
    WRITES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.blackboard = self.attach_blackboard_client(name=name)
        for key in self.READS:
            self.blackboard.register_key(key=key, access=Access.READ)
        for key in self.WRITES:
            self.blackboard.register_key(key=key, access=Access.WRITE)
        self._read: dict[str, tuple[str, float]] = {}  # key -> path in the store, time to live [s]
        self._written = {key: f"/{key}" for key in self.WRITES}

    def setup(self, **kwargs: Any) -> None:
        """Take the resources this application runs on.

        Raises
        ------
        KeyError
            When ``resources`` is not among the arguments.
        """
        self.resources: Resources = kwargs["resources"]
        self._read = {key: (f"/{key}", KEYS[key].ttl_s(self.settings)) for key in self.READS}

    @property
    def settings(self) -> TreeSettings:
        """The settings in force now."""
        return self.resources.settings

    @property
    def now_s(self) -> float:
        """The time of this tick [s]: one for all leaves."""
        return self.resources.tick_time_s

    def read(self, key: str) -> Any:
        """Return the value of a declared key, or ``STALE``."""
        path, ttl_s = self._read[key]
        # Straight from the store: the client's checked access costs as much as the rest of a small leaf, and the
        # declaration was checked when the tree was built. A viewer that records activity gets the checked path.
        entry: Stamped | None
        if Blackboard.activity_stream is None:
            entry = Blackboard.storage.get(path)
        else:
            entry = self.blackboard.get(key) if self.blackboard.exists(key) else None
        if entry is None:
            return STALE
        return STALE if self.resources.tick_time_s - entry.at_s > ttl_s else entry.value

    def write(self, key: str, value: Any, at_s: float | None = None) -> None:
        """Write a declared key, stamped with the tick's time or with ``at_s``."""
        entry = Stamped(value, self.resources.tick_time_s if at_s is None else at_s)
        if Blackboard.activity_stream is None:
            Blackboard.storage[self._written[key]] = entry
        else:
            self.blackboard.set(key, entry)
