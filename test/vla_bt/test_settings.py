"""Settings are refused with one line that says what, where and what would be right; nothing falls back silently."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vla_bt.settings import GateSettings, SettingsError, TreeSettings, build, config_path, load, read_yaml


def test_the_shipped_file_loads_for_every_node_that_has_a_section() -> None:
    content = read_yaml(config_path("robot.yaml"))
    assert {"/**/gate", "/**/tree"} <= set(content)
    assert load(TreeSettings, "tree") == TreeSettings()
    assert load(GateSettings, "gate") == GateSettings()


def test_every_setting_has_words_and_a_default_inside_its_range() -> None:
    for kind in (TreeSettings, GateSettings):
        build(kind, dataclasses.asdict(kind()), "defaults")
        assert all(field.metadata["doc"] for field in dataclasses.fields(kind))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"camera_timeout": 1.0}, "unknown setting 'camera_timeout'"),
        ({"camera_timeout_s": "soon"}, "camera_timeout_s is 'soon'; expected float"),
        ({"camera_timeout_s": 99.0}, "camera_timeout_s is 99; expected 0.05 to 5"),
        ({"camera_timeout_s": float("nan")}, "camera_timeout_s is nan; expected 0.05 to 5"),
        ({"camera_timeout_s": True}, "camera_timeout_s is True; expected float"),
        ({"initial_mode": "warp"}, "initial_mode is 'warp'; expected one of manual, vla, hybrid"),
        ({"required_inputs": [1]}, "expected a list of words"),
        (
            {"required_inputs": ["camera", "odom", "lidar"]},
            "required_inputs: unknown input 'odom'; known: camera, odometry, scan, battery",
        ),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build(TreeSettings, values, "robot.yaml: tree")
    assert words in str(caught.value)
    assert str(caught.value).startswith("robot.yaml: tree: ")
    assert "\n" not in str(caught.value)


def test_a_whole_number_is_welcome_where_a_float_is_asked_for() -> None:
    assert build(TreeSettings, {"goal_timeout_s": 60}, "here").goal_timeout_s == 60.0


def test_a_list_may_hold_any_of_its_choices() -> None:
    assert build(TreeSettings, {"required_inputs": ["camera", "scan"]}, "here").required_inputs == ["camera", "scan"]
    assert build(TreeSettings, {"required_inputs": []}, "here").required_inputs == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tree: [1, 2", "not valid YAML"),
        ("- a\n- b\n", "expected a mapping at the top, got list"),
        ("tree:\n  ros__parameters: 3\n", "expected 'ros__parameters:' with a mapping under it"),
        ("tree: 3\n", "expected 'ros__parameters:' with a mapping under it"),
        ("tree: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(TreeSettings, "tree", path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_section_for_all_nodes_counts_in_lockstep_too(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    shared = "/**:\n  ros__parameters: {frame_period_s: 0.12, max_linear_x: 0.5, use_sim_time: true}\n"
    path.write_text(shared + "/tree:\n  ros__parameters: {tick_period_s: 0.1}\ngate:\n  ros__parameters: {max_linear_x: 0.3}\n")
    tree = load(TreeSettings, "tree", path)
    assert (tree.frame_period_s, tree.tick_period_s) == (0.12, 0.1)
    assert load(GateSettings, "gate", path).max_linear_x == 0.3  # its own section counts more
    path.write_text("/**:\n  ros__parameters: {frame_perod_s: 0.12}\n")
    with pytest.raises(SettingsError, match="/\\*\\*: no node has a setting 'frame_perod_s'"):
        load(GateSettings, "gate", path)
    path.write_text("/**: 5\n")
    with pytest.raises(SettingsError, match="expected 'ros__parameters:'"):
        load(TreeSettings, "tree", path)


def test_the_deadlines_add_up_to_the_budget() -> None:
    # From the last good input to zero on cmd_vel: time-out, then at most one tick, then at most one gate period.
    tree, gate = TreeSettings(), GateSettings()
    for name in ("camera_timeout_s", "odometry_timeout_s", "scan_timeout_s", "teleop_timeout_s", "policy_output_timeout_s"):
        assert getattr(tree, name) + tree.tick_period_s + gate.period_s <= 0.3, name
    # From the death of the tree to zero: what is left of a request, then at most one gate period.
    assert gate.max_valid_for_s + gate.period_s <= 0.3
    assert tree.request_valid_for_s > 2 * tree.tick_period_s, "one lost datagram must not stop the robot"
