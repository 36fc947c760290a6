"""One drive in lockstep, tick by tick as a log takes it, and as the log of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vla_bt.app.assemble import witness_for
from vla_bt.app.drive import LockstepRun
from vla_bt.app.run_log import nodes_of
from vla_bt.control.causes import load_causes
from vla_bt.runlog.encoder import Moment, Node
from vla_bt.runlog.log import LogStatus, RunLog
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene

Ticks = tuple[Sequence[Node], list[Moment]]


@pytest.fixture(scope="session")
def ticks() -> Ticks:
    """Fifteen seconds of a drive: the tree's nodes and every tick."""
    run = LockstepRun(make_scene("1box_vert_left"), "expert", TreeSettings(), GateSettings())
    moments: list[Moment] = []
    root = run.loop._tree.root
    log = SimpleNamespace(take=moments.append, status=lambda: LogStatus("off"))
    run.loop.witness = witness_for(run.loop._tree, run.loop, run.resources, cast("RunLog", log))
    run.robot.set_mode("vla")
    run.robot.give_goal("go around the box on the left to the cup")
    for _ in range(300):
        run.step()
    run.close()
    return nodes_of(root), moments


@pytest.fixture
def make_log(ticks: Ticks, tmp_path: Path) -> Callable[..., RunLog]:
    """Return what makes a log in ``tmp_path / "runs"``."""

    def make(**options: Any) -> RunLog:
        settings = options.pop("settings", TreeSettings())
        directory = options.pop("directory", tmp_path / "runs")
        return RunLog(ticks[0], load_causes(), settings, directory, "test", 0.0, **{"patient": True, **options})

    return make
