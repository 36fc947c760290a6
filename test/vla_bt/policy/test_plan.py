"""Memory told before it is taken: as predicted so measured, and refused instead of killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vla_bt.policy import plan as planning
from vla_bt.policy.config import Tower, load_preset
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.plan import check, plan
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import save_policy
from vla_bt.policy.shrinking import Shrink
from vla_bt.settings import SettingsError

PROBE = Path(__file__).parents[2] / "tools" / "memory_probe.py"
CGROUPS = Path("/sys/fs/cgroup/memory")
HYBRID = load_preset("hybrid", "full")


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of 400 MB with every part of the reference."""
    assert HYBRID.kosmos is not None
    assert HYBRID.clip is not None

    def tower(width: int) -> Tower:
        return Tower(width=width, layers=3, heads=8, mlp=4 * width)

    kosmos = replace(HYBRID.kosmos, vision=tower(512), text=tower(768), vocabulary=0)
    clip = replace(HYBRID.clip, vision=tower(512), text=tower(512), vocabulary=0)
    folder = tmp_path_factory.mktemp("middle") / "policy"
    save_policy(NetworkPolicy.untrained(replace(HYBRID, name="middle", kosmos=kosmos, clip=clip)), folder)
    return folder


def probe(name: str, before: Callable[[], None] | None = None) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROBE), name],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"},
        preexec_fn=before,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-500:]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_mapped_weights_are_no_memory_of_our_own_and_are_predicted(middle: Path) -> None:
    found = probe(str(middle))
    predicted, measured = found["predicted"], found["measured"]
    assert sum(predicted.values()) == pytest.approx(sum(measured.values()), rel=0.1), found
    assert predicted["mapped_mb"] > 300
    assert measured["private_mb"] < 100


def test_the_real_size_part_by_part() -> None:
    whole = plan(HYBRID, Shrink(), torch.float32)
    numbers = {part.name: part.parameters for part in whole.parts}
    assert 303e6 < numbers["kosmos vision"] < 304e6
    assert 1342e6 < numbers["kosmos text"] < 1347e6
    assert 6.2e9 < whole.mapped_bytes < 7.5e9
    assert whole.private_bytes < 0.3e9
    sizes = {how: plan(HYBRID, Shrink.parse(how), torch.float32).needed_bytes for how in ("bf16", "int8", "bf16+layers6")}
    assert 3.7e9 < sizes["bf16"] < 4.0e9
    assert 1.7e9 < sizes["int8"] < 2.2e9
    assert sizes["bf16+layers6"] < 0.45 * sizes["bf16"]


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "available_bytes", lambda: (int(4.5e9), "this machine's memory"))
    with pytest.raises(SettingsError) as caught:
        make_network_policy("hybrid@full")
    message = str(caught.value)
    assert message.startswith("policy hybrid needs 7.")
    assert "this machine's memory leaves 4.5 GB" in message
    assert "\n" not in message
    stored = Path("stored.pth")
    monkeypatch.setattr(planning, "dtype_of", lambda _: torch.float32)
    monkeypatch.setattr(planning, "_rough_bytes", lambda *_: float("inf"))
    with pytest.raises(SettingsError, match=r"these would fit: @bf16 \(3\.[78] GB\), @int8 \([12]\.\d GB\), @bf16\+layers12"):
        check(HYBRID, Shrink(), stored)
    check(HYBRID, Shrink.parse("bf16"), stored)
    monkeypatch.setattr(planning, "available_bytes", lambda: (int(1e8), "this container's limit"))
    with pytest.raises(SettingsError, match="no way to shrink it would make it fit"):
        check(HYBRID, Shrink.parse("int8"), stored)


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A real memory group of the kernel's (v1), where one can be made."""
    group = CGROUPS / f"vla_bt_test_{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no memory group can be made here")
    yield group
    group.rmdir()


def test_under_a_real_limit_it_is_refused_or_runs_but_is_never_killed(middle: Path, limited_group: Path) -> None:
    def join() -> None:
        (limited_group / "cgroup.procs").write_text(str(os.getpid()))

    (limited_group / "memory.limit_in_bytes").write_text(str(600_000_000))
    refused = probe(str(middle), join)["refused"]
    assert "this container's limit leaves" in refused
    assert "@bf16" in refused
    found = probe(f"{middle}@bf16", join)
    assert found["predicted"]["private_mb"] == pytest.approx(found["measured"]["private_mb"], rel=0.1), found
    assert found["predicted"]["mapped_mb"] == 0.0
    assert int((limited_group / "memory.max_usage_in_bytes").read_text()) <= 600_000_000
