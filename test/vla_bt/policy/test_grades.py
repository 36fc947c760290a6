"""A policy made smaller while it runs: in place, measured, and said; out of memory is recognised in all its forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_bt.policy import grades
from vla_bt.policy.config import load_preset
from vla_bt.policy.errors import DoesNotFitError
from vla_bt.policy.expert import ExpertPolicy
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.port import Grade, WorkerMemory
from vla_bt.policy.records import pack_memory, pack_set_grade, unpack_memory, unpack_set_grade
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.shrinking import held_bytes
from vla_bt.settings import SettingsError
from vla_bt.wire import WireError
from vla_bt.words import ZERO

POLICY = "stress@tiny"


def drives(policy: NetworkPolicy) -> bool:
    policy.reset("go to the cup")
    frame = np.zeros((policy.info.frame_height, policy.info.frame_width, 3), np.uint8)
    return policy.step(frame, 0.0, ZERO).finite


def test_each_grade_is_smaller_and_still_drives() -> None:
    policy = make_network_policy(POLICY)
    sizes = [held_bytes(policy.network)]
    layers = grades.kept_layers(policy.config)
    for before, grade, words in ((Grade.FULL, Grade.INT8, "int8"), (Grade.INT8, Grade.LAYERS, f"layers{layers}")):
        assert grades.degrade(policy, before, grade) == words
        assert drives(policy)
        sizes.append(held_bytes(policy.network))
    assert sizes == sorted(set(sizes), reverse=True)
    assert grades.degrade(policy, Grade.LAYERS, Grade.INT8) == "", "back leads only through loading"


@pytest.mark.parametrize("name", [POLICY, f"{POLICY}@bf16", f"{POLICY}@int8", f"{POLICY}@layers1"])
@pytest.mark.parametrize("grade", [Grade.INT8, Grade.LAYERS])
def test_loaded_small_it_is_like_made_small(name: str, grade: Grade) -> None:
    loaded = grades.load(name, grade)
    assert isinstance(loaded, NetworkPolicy)
    made = make_network_policy(name)
    grades.degrade(made, Grade.FULL, grade)
    assert drives(loaded)
    assert loaded.eight_bit
    assert held_bytes(loaded.network) == held_bytes(made.network)


def test_what_is_no_network_stays_as_it_is() -> None:
    assert grades.degrade(ExpertPolicy(lambda: None), Grade.FULL, Grade.LAYERS) == ""
    assert grades.kept_layers(load_preset("small-cnn")) == 0


def test_clearing_forgets_goals_beside_the_current_one() -> None:
    policy = make_network_policy(POLICY)
    for goal in ("go to the cup", "go to the box", "turn left"):
        policy.reset(goal)
    grades.clear(policy)
    assert policy.clear_cache() == 0
    frame = np.zeros((policy.info.frame_height, policy.info.frame_width, 3), np.uint8)
    assert policy.step(frame, 0.0, ZERO).finite, "the current goal is still known"
    grades.clear(None)


def test_people_are_told() -> None:
    assert grades.label_of("untrained", Grade.FULL) == "untrained"
    assert grades.label_of("untrained", Grade.INT8) == "untrained; 8-bit for want of memory"
    assert "half the layers" in grades.label_of("untrained", Grade.LAYERS)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (DoesNotFitError("policy hybrid needs 7 GB"), True),
        (SettingsError("unknown policy 'x'"), False),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert grades.is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50)
    assert grades.is_out_of_memory(raised.value)


def test_the_records() -> None:
    memory = WorkerMemory(900.5, 1.0, 2.0, 3.0, 4, 5.5, 6.5)
    assert unpack_memory(pack_memory(77, memory)) == (77, memory)
    for grade in Grade:
        assert unpack_set_grade(pack_set_grade(grade)) is grade
    with pytest.raises(WireError, match="unknown grade"):
        unpack_set_grade(pack_set_grade(Grade.FULL)[:-1] + b"\x09")
