"""YAML whose values remember their line, so that a mistake can be named where it stands.

Promises: plain data only (the safe loader's); a key given twice is refused; every complaint is one line ``FILE:LINE: ...``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_bt.settings import SettingsError


@dataclass(frozen=True)
class Marked:
    """A value of a YAML file and the place it stands at.

    Attributes
    ----------
    value : Any
        A scalar; a list of Marked; or a dict of Marked.
    where : str
        ``FILE:LINE``.
    """

    value: Any
    where: str

    def error(self, words: str) -> SettingsError:
        """Return the complaint about this value."""
        return SettingsError(f"{self.where}: {words}")

    def plain(self) -> Any:
        """Return it without marks."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value

    def items(self, what: str) -> list[tuple[str, Marked]]:
        """Return the entries of a mapping."""
        if not isinstance(self.value, dict):
            raise self.error(f"{what} is {self.plain()!r}; expected a mapping")
        return list(self.value.items())

    def entries(self, what: str) -> list[Marked]:
        """Return the entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(f"{what} is {self.plain()!r}; expected a list")
        return self.value

    def word(self, what: str, choices: Iterable[str] = ()) -> str:
        """Return a text, one of ``choices`` if there are any."""
        known = list(choices)
        if not isinstance(self.value, str) or (known and self.value not in known):
            wanted = f"one of {', '.join(known)}" if known else "a text"
            raise self.error(f"{what} is {self.plain()!r}; expected {wanted}")
        return self.value

    def number(self, what: str, low: float, high: float) -> float:
        """Return a number within a range."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not low <= self.value <= high:
            raise self.error(f"{what} is {self.plain()!r}; expected a number from {low:g} to {high:g}")
        return float(self.value)

    def numbers(self, what: str, count: int, bound: float) -> tuple[float, ...]:
        """Return ``count`` numbers, each within +-bound."""
        found = self.entries(what)
        if len(found) != count:
            raise self.error(f"{what} is {self.plain()!r}; expected {count} numbers")
        return tuple(entry.number(what, -bound, bound) for entry in found)


def marked(value: Any, where: str) -> Marked:
    """Return plain values, as JSON gives them, as if they had been read from ``where``."""
    if isinstance(value, dict):
        return Marked({str(key): marked(entry, where) for key, entry in value.items()}, where)
    if isinstance(value, (list, tuple)):
        return Marked([marked(entry, where) for entry in value], where)
    return Marked(value, where)


def read_marked(path: Path) -> Marked:
    """Read a file.

    Raises
    ------
    SettingsError
        When it can't be read or is no valid YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            return _marked(loader, node, str(path)) if node is not None else Marked({}, f"{path}:1")
        finally:
            loader.dispose()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not readable as UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise SettingsError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _marked(loader: yaml.SafeLoader, node: yaml.Node, path: str) -> Marked:
    where = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Marked([_marked(loader, entry, path) for entry in node.value], where)
    if not isinstance(node, yaml.MappingNode):
        return Marked(loader.construct_object(node), where)
    found: dict[str, Marked] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node)
        at = f"{path}:{key_node.start_mark.line + 1}"
        if not isinstance(key, str):
            raise SettingsError(f"{at}: {key!r} is no name of a setting")
        if key in found:
            raise SettingsError(f"{at}: {key} is given twice")
        entry = _marked(loader, value_node, path)
        # the line of the name: what people look for when the value is an empty or a nested one
        found[key] = Marked(entry.value, at if isinstance(value_node, yaml.ScalarNode) else entry.where)
    return Marked(found, where)
