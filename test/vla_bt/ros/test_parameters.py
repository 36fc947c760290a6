"""Parameters are declared with meaning and range; what does not fit is refused with the reason, at start and later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from vla_bt.ros.parameters import declare, on_change  # noqa: E402
from vla_bt.settings import SettingsError, setting  # noqa: E402

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Example:
    period_s: float = setting(0.1, "a period [s]", 0.01, 1.0)
    slots: int = setting(4, "a count", 2, 8)
    loop: bool = setting(False, "again and again")
    kind: str = setting("plain", "which one", choices=("plain", "fancy"))
    inputs: list[str] = setting(["camera"], "what there is")
    sides: list[str] = setting(["left"], "where", choices=("left", "right"))


class HumbleNode(Node):
    """A node as Humble's rclpy has it: asked before a change, not told after it."""

    @property
    def add_post_set_parameters_callback(self) -> Any:
        raise AttributeError("'Node' object has no attribute 'add_post_set_parameters_callback'")


@pytest.fixture
def make(ros_context: Any) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make_node(kind: type[Node] = Node, /, **overrides: Any) -> Node:
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(kind("example", context=ros_context, parameter_overrides=given, start_parameter_services=False))
        return nodes[-1]

    yield make_node
    for node in nodes:
        node.destroy_node()


def refusal(node: Node, name: str, value: Any) -> str:
    """Set a parameter; returns why it was refused, empty when it was taken."""
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert result.successful == (result.reason == "")
    return str(result.reason)


def test_defaults_and_what_was_given_at_start(make: Callable[..., Node]) -> None:
    assert declare(make(), Example) == Example()
    given = declare(make(period_s=1, loop=True, inputs=["a", "b"], kind="fancy"), Example)
    assert given == Example(period_s=1.0, loop=True, inputs=["a", "b"], kind="fancy")
    assert isinstance(given.period_s, float), "1 is as good as 1.0"


def test_description_and_range_can_be_read(make: Callable[..., Node]) -> None:
    node = make()
    declare(node, Example)
    period, slots, kind = (node.describe_parameter(name) for name in ("period_s", "slots", "kind"))
    assert period.description == "a period [s]"
    assert (period.floating_point_range[0].from_value, period.floating_point_range[0].to_value) == (0.01, 1.0)
    assert (slots.integer_range[0].from_value, slots.integer_range[0].to_value) == (2, 8)
    assert kind.description == "which one: plain, fancy"


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("period_s", 2.0, r"/example: period_s is 2; expected 0.01 to 1 \(a period \[s\]\)"),
        ("period_s", 0, "expected 0.01 to 1"),
        ("period_s", float("nan"), "period_s is nan"),
        ("period_s", "fast", "expected float"),
        ("slots", 4.0, "slots is 4.0; expected int"),
        ("loop", 1, "expected bool"),
        ("kind", "odd", "expected one of plain, fancy"),
        ("inputs", "camera", r"expected list\[str\]"),
        ("inputs", [1, 2], "expected a list of words"),
        ("sides", ["left", "up"], "/example: sides: unknown side 'up'; known: left, right"),
        ("perod_s", 0.2, "unknown setting 'perod_s'; known: inputs, kind"),
    ],
)
def test_bad_values_at_start_are_one_line(make: Callable[..., Node], name: str, value: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        declare(make(**{name: value}), Example)
    assert "\n" not in str(caught.value)


def test_bad_values_are_refused_on_set_and_the_old_ones_stay(make: Callable[..., Node]) -> None:
    node = make()
    declare(node, Example)
    for name, value, words in [
        ("period_s", 2.0, "out of range"),
        ("period_s", 7, "expected 0.01 to 1"),
        ("period_s", float("nan"), "out of range"),
        ("period_s", "fast", "expected float"),
        ("slots", 9, "out of range"),
        ("loop", 3, "Wrong parameter type"),
        ("kind", "odd", "expected one of plain, fancy"),
        ("sides", ["left", "up"], "unknown side 'up'; known: left, right"),
    ]:
        assert words in refusal(node, name, value)
    assert [node.get_parameter(name).value for name in ("period_s", "slots", "loop", "kind")] == [0.1, 4, False, "plain"]
    assert refusal(node, "period_s", 0.5) == ""
    assert refusal(node, "kind", "fancy") == ""
    assert node.get_parameter("period_s").value == 0.5


def test_what_is_fixed_says_so(make: Callable[..., Node]) -> None:
    node = make(period_s=0.3)
    assert declare(node, Example, live=("kind",)).period_s == 0.3
    assert "read-only" in refusal(node, "period_s", 0.5)
    assert refusal(node, "kind", "fancy") == ""
    assert node.describe_parameter("period_s").read_only


@pytest.mark.parametrize("kind", [Node, HumbleNode])
def test_a_change_is_followed_as_a_whole_or_not_at_all(make: Callable[..., Node], kind: type[Node]) -> None:
    node = make(kind, slots=5)
    settings = declare(node, Example, live=("period_s", "kind", "inputs"))
    seen: list[Example] = []
    on_change(node, Example, seen.append)
    assert refusal(node, "period_s", 1) == ""
    assert refusal(node, "inputs", ["camera", "scan"]) == ""
    expected = [replace(settings, period_s=1.0), replace(settings, period_s=1.0, inputs=["camera", "scan"])]
    assert seen == expected
    assert isinstance(seen[0].period_s, float)

    both = [Parameter("period_s", value=0.5), Parameter("kind", value="odd")]
    assert "expected one of plain, fancy" in node.set_parameters_atomically(both).reason
    assert "read-only" in refusal(node, "slots", 6)
    assert refusal(node, "period_s", 2.0) != ""
    assert seen == expected
    assert node.get_parameter("period_s").value == 1

    both[1] = Parameter("kind", value="fancy")
    assert node.set_parameters_atomically(both).successful
    assert seen[-1] == replace(expected[-1], period_s=0.5, kind="fancy")
    assert (node.get_parameter("period_s").value, node.get_parameter("kind").value) == (0.5, "fancy")
