"""Every cell of the cause x mode table, written here a second time; and what a file may not say."""

from pathlib import Path

import pytest
import yaml

from vla_bt.control.causes import CAUSES, CauseTable, Verdict, load_causes
from vla_bt.settings import SettingsError, config_path
from vla_bt.words import Mode

EVERYTHING = dict.fromkeys(Mode, "stop_all")
AUTONOMY = dict.fromkeys(Mode, "stop_autonomy")
DIRECTION = dict.fromkeys(Mode, "direction")
NOTHING = dict.fromkeys(Mode, "")

EXPECTED = {
    "estop": EVERYTHING,
    "gate_fault": EVERYTHING,
    "gate_silent": EVERYTHING,
    "teleop_lost": {Mode.MANUAL: "stop_all", Mode.VLA: "", Mode.HYBRID: ""},
    "camera_stale": AUTONOMY,
    "camera_frozen": AUTONOMY,
    "policy_dead": AUTONOMY,
    "policy_not_finite": AUTONOMY,
    "policy_silent": AUTONOMY,
    "memory_critical": AUTONOMY,
    "memory_step": AUTONOMY,
    "memory_stale": AUTONOMY,
    "goal_stale": AUTONOMY,
    "tick_overrun": AUTONOMY,
    "battery_low": AUTONOMY,
    "battery_stale": AUTONOMY,
    "odometry_stale": AUTONOMY,
    "scan_stale": AUTONOMY,
    "obstacle": DIRECTION,
    "contact": DIRECTION,
    "camera_stamp_odd": NOTHING,
}

CELLS = [(cause, mode, effect) for cause, row in EXPECTED.items() for mode, effect in row.items()]


@pytest.fixture(scope="module")
def table() -> CauseTable:
    return load_causes()


def test_the_table_written_here_is_complete() -> None:
    assert set(EXPECTED) == set(CAUSES)
    assert len(CELLS) == len(CAUSES) * len(Mode)


@pytest.mark.parametrize(("cause", "mode", "effect"), CELLS)
def test_each_cell(table: CauseTable, cause: str, mode: Mode, effect: str) -> None:
    verdict = table.decide({cause: "why"}, mode)
    words = f"{table.causes[cause].words} (why)"
    for name in ("stop_all", "stop_autonomy", "direction"):
        assert getattr(verdict, name) == ((words,) if name == effect else ())


def test_causes_add_up_and_each_is_named(table: CauseTable) -> None:
    verdict = table.decide({"estop": "", "camera_stale": "last frame 0.31 s ago", "scan_stale": "", "contact": "left"}, Mode.VLA)
    assert verdict == Verdict(
        ("emergency stop",),
        ("the camera is silent (last frame 0.31 s ago)", "the scan is silent"),
        ("the robot touches something (left)",),
    )


def test_without_a_cause_nothing_is_held(table: CauseTable) -> None:
    assert all(table.decide({}, mode) == Verdict() for mode in Mode)


def test_a_cause_that_is_not_in_the_table_is_an_error(table: CauseTable) -> None:
    with pytest.raises(KeyError):
        table.decide({"gremlins": ""}, Mode.VLA)


def changed(tmp_path: Path, cause: str, key: str | None, value: object) -> Path:
    """Write the shipped table with one cell replaced (``None`` removes) or, without a key, one cause."""
    content = yaml.safe_load(config_path("causes.yaml").read_text())
    place = content if key is None else content[cause]
    name = cause if key is None else key
    if value is None:
        del place[name]
    else:
        place[name] = value
    path = tmp_path / "causes.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("cause", "key", "value", "problem"),
    [
        ("gremlins", None, {}, "unknown cause 'gremlins'; known: estop, gate_fault"),
        ("camera_stale", None, None, "cause 'camera_stale' is missing"),
        ("camera_stale", None, "stop", "camera_stale: expected a mapping with words, manual, vla, hybrid"),
        ("camera_stale", "auto", "stop", "camera_stale: unknown mode 'auto'; known: manual, vla, hybrid"),
        ("camera_stale", "vla", None, "camera_stale: 'vla' is missing"),
        ("camera_stale", "words", None, "camera_stale: 'words' is missing"),
        ("camera_stale", "words", "", "camera_stale: words is ''"),
        ("camera_stale", "vla", "halt", "camera_stale: vla is 'halt'; expected one of stop, autonomy, ignore"),
        ("camera_stale", "vla", True, "camera_stale: vla is True; expected one of stop, autonomy, ignore"),
        ("camera_stale", "vla", ["stop"], "camera_stale: vla is ['stop']"),
        ("camera_stale", "vla", "direction", "camera_stale: vla is 'direction'; expected one of stop, autonomy, ignore"),
        ("obstacle", "vla", "halt", "obstacle: vla is 'halt'; expected one of stop, autonomy, direction, ignore"),
    ],
)
def test_a_bad_table_is_refused_with_one_line(tmp_path: Path, cause: str, key: str | None, value: object, problem: str) -> None:
    path = changed(tmp_path, cause, key, value)
    with pytest.raises(SettingsError) as refusal:
        load_causes(path)
    message = str(refusal.value)
    assert problem in message
    assert str(path) in message
    assert "\n" not in message


def test_a_changed_cell_changes_the_effect(tmp_path: Path) -> None:
    table = load_causes(changed(tmp_path, "camera_stamp_odd", "vla", "autonomy"))
    assert table.decide({"camera_stamp_odd": ""}, Mode.VLA).stop_autonomy
    assert table.decide({"camera_stamp_odd": ""}, Mode.MANUAL) == Verdict()
