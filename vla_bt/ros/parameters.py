"""Settings dataclasses as ROS parameters: declared once, described, ranged, and refused with the reason when they don't fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_bt.settings import SettingsError, build, check

S = TypeVar("S")


def declare(node: Node, kind: type[S], live: Collection[str] | None = None, others: Collection[str] = ()) -> S:
    """Declare every field of a settings dataclass on ``node`` and return the instance its parameters make. Once per node.

    Parameters
    ----------
    node : Node
        The node; values given at start (``--params-file``, ``-p``) are taken and checked.
    kind : type
        A dataclass of :mod:`vla_bt.settings`.
    live : collection of str, optional
        Fields that may be set while the node runs, by a node that follows them; the rest are read-only. None means all.
    others : collection of str, optional
        Names that somebody else declares on this node, later: they are let through.

    Raises
    ------
    SettingsError
        One line: what, where, what would be right. An unknown name is refused too.
    """
    where = node.get_fully_qualified_name()
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = getattr(node, "_parameter_overrides", {})  # names nobody declares are otherwise ignored in silence
    strangers = [name for name in given if name not in {*fields, *others} and not name.startswith("qos_overrides.")]
    values: dict[str, Any] = {name: 0 for name in strangers if not node.has_parameter(name)}
    for name, item in fields.items():
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        try:
            # Typed only after our own check: it takes 1 for 1.0, and says what would be right.
            values[name] = node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True)).value
        except ParameterException as error:
            raise SettingsError(f"{where}: {name}: {' '.join(str(error).split())}") from None
    settings = build(kind, values, where)
    for name, item in fields.items():
        parameter = Parameter(name, value=_plain(getattr(settings, name)))
        node.set_parameters([parameter])
        node.set_descriptor(name, _descriptor(item, parameter.type_, live is not None and name not in live))

    def refuse_bad(parameters: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                if parameter.name in fields:
                    check(fields[parameter.name], _plain(parameter.value), where)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(refuse_bad)
    return settings


def on_change(node: Node, kind: type[S], callback: Callable[[S], None]) -> None:
    """Call back with the new settings after each change of the node's parameters; all of a change or nothing of it.

    Parameters
    ----------
    node : Node
        The node, its parameters declared by :func:`declare`.
    kind : type
        The dataclass that was declared.
    callback : callable
        Takes the settings as a whole, checked. Not called for a change that was refused.
    """
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    where = node.get_fully_qualified_name()

    def settings(parameters: list[Parameter]) -> S:
        values = {name: _plain(node.get_parameter(name).value) for name in names}
        values.update({item.name: _plain(item.value) for item in parameters if item.name in values})
        return build(kind, values, where)

    def follow(parameters: list[Parameter]) -> SetParametersResult:
        try:
            callback(settings(parameters))
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    if hasattr(node, "add_post_set_parameters_callback"):
        node.add_post_set_parameters_callback(lambda parameters: callback(settings(parameters)))
    else:  # Humble; asked before declare()'s own check, so that what that one would refuse has to be refused here too
        node.add_on_set_parameters_callback(follow)


def _plain(value: Any) -> Any:
    """Return lists as lists: rclpy hands arrays and tuples out."""
    return list(value) if isinstance(value, (tuple, list)) else value


def _descriptor(item: dataclasses.Field[Any], kind: Parameter.Type, read_only: bool) -> ParameterDescriptor:
    low, high = item.metadata["low"], item.metadata["high"]
    words = item.metadata["doc"]
    if item.metadata["choices"]:
        words = f"{words}: {', '.join(item.metadata['choices'])}"
    # An int is welcome where a float is asked for, so floats stay untyped; the callback checks them.
    loose = item.type == "float"
    descriptor = ParameterDescriptor(description=words, type=kind.value, read_only=read_only, dynamic_typing=loose)
    if low is not None and item.type == "float":
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    return descriptor
