"""The import rule: cli, ros, dashboard, bench, app -> trees -> behaviours -> engine, and never the other way.

The engine knows neither py_trees nor rclpy, only the policy and its training know torch, and no process that decides or limits a
velocity can come to import torch, however late. Imports inside functions count like all others.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {"vla_bt": "vla_bt", "vla_bt.trees": "trees", "vla_bt.behaviours": "behaviours"}
ENGINE, BEHAVIOURS, TREES, TOP = range(4)
LAYERS = {
    "vla_bt.behaviours": BEHAVIOURS,
    "vla_bt.trees": TREES,
    "vla_bt.app": TOP,
    "vla_bt.bench": TOP,
    "vla_bt.cli": TOP,
    "vla_bt.dashboard": TOP,
    "vla_bt.eval": TOP,
    "vla_bt.ros": TOP,
}
LAYER_NAMES = {ENGINE: "the engine", BEHAVIOURS: "behaviours", TREES: "trees", TOP: "an application"}
TORCH = {"torch", "transformers", "safetensors", "tokenizers"}
ROS = {
    "rclpy",
    "py_trees_ros",
    "rcl_interfaces",
    "sensor_msgs",
    "geometry_msgs",
    "nav_msgs",
    "std_msgs",
    "std_srvs",
    "diagnostic_msgs",
}
MAY_HOLD_TORCH = ("vla_bt.policy", "vla_bt.train")
MAY_HOLD_ROS = ("vla_bt.ros", "vla_bt.cli", "vla_bt.bench")
# What runs in the tree, the gate and the bridge: they would be killed together with a model that fills the memory.
TORCH_FREE = ("vla_bt.trees", "vla_bt.behaviours", "vla_bt.ros", "vla_bt.app.loop")


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Tell whether the module is one of the packages or lies in one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def layer(module: str) -> int:
    """Return how high up the module stands."""
    return next((rank for package, rank in LAYERS.items() if within(module, (package,))), ENGINE)


def sources(root: Path) -> dict[str, Path]:
    """Return every module under its installed name, with its file."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def named_in(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, full dotted name) for everything the code imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, *filter(None, [base])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def imports(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Return for each module what it imports: ("file:line", module), our own modules by their full name."""
    known = sources(root)
    graph: dict[str, list[tuple[str, str]]] = {}
    for module, path in known.items():
        graph[module] = []
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for line, name in named_in(tree, module, path.name == "__init__.py"):
            target = name
            while target not in known and "." in target:
                target = target.rpartition(".")[0]
            graph[module].append((f"{path.relative_to(root)}:{line}", target))
    return graph


def ancestors(module: str) -> list[str]:
    """Return the packages that are imported before the module."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def way_to_torch(module: str, graph: dict[str, list[tuple[str, str]]]) -> list[str]:
    """Return the places of the imports by which the module may come to load torch, empty if there is no such way."""
    ways: dict[str, list[str]] = {module: []}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in TORCH:
            return ways[current]
        steps = [*graph.get(current, []), *((f"package of {current}", package) for package in ancestors(current))]
        for place, target in steps:
            if target not in ways:
                ways[target] = [*ways[current], place]
                waiting.append(target)
    return []


def violations(root: Path) -> list[str]:
    """Return every breach of the rule under ``root``, one line each."""
    graph = imports(root)
    found = []
    for module, targets in graph.items():
        for place, target in targets:
            package = target.partition(".")[0]
            if target in graph and layer(target) > layer(module):
                found.append(f"{place}: {LAYER_NAMES[layer(module)]} must not import {LAYER_NAMES[layer(target)]} ({target})")
            if package == "py_trees" and layer(module) == ENGINE:
                found.append(f"{place}: the engine must not import py_trees")
            if package in ROS and not within(module, MAY_HOLD_ROS):
                found.append(f"{place}: only {', '.join(MAY_HOLD_ROS)} may import {package}")
            if package in TORCH and not within(module, MAY_HOLD_TORCH):
                found.append(f"{place}: only {', '.join(MAY_HOLD_TORCH)} may import {package}")
        if within(module, TORCH_FREE) and (way := way_to_torch(module, graph)):
            found.append(f"{module} can come to import torch: {' -> '.join(way)}")
    return found


def test_the_sources_keep_the_rule() -> None:
    assert len(sources(REPOSITORY)) > 20
    assert violations(REPOSITORY) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"vla_bt/control/gate.py": "import py_trees"}, "vla_bt/control/gate.py:1: the engine must not import py_trees"),
        ({"vla_bt/goals/a.py": "def f():\n    from rclpy.node import Node"}, "vla_bt/goals/a.py:2: only vla_bt.ros"),
        ({"behaviours/a.py": "from sensor_msgs.msg import Image"}, "behaviours/a.py:1: only vla_bt.ros"),
        ({"vla_bt/a.py": "from vla_bt import trees", "trees/__init__.py": ""}, "the engine must not import trees"),
        ({"vla_bt/a.py": "from . import cli", "vla_bt/cli/__init__.py": ""}, "the engine must not import an application"),
        ({"behaviours/a.py": "import vla_bt.trees.b", "trees/b.py": ""}, "behaviours must not import trees"),
        ({"trees/a.py": "from ..app.loop import Loop", "vla_bt/app/loop.py": ""}, "trees must not import an application"),
        ({"vla_bt/cli/a.py": "import torch"}, "vla_bt/cli/a.py:1: only vla_bt.policy, vla_bt.train may import torch"),
        (
            {"vla_bt/memory/a.py": "import importlib\nimportlib.import_module('torch')"},
            "vla_bt/memory/a.py:2: only vla_bt.policy",
        ),
        (
            {"trees/a.py": "from vla_bt.policy.b import f", "vla_bt/policy/b.py": "def f():\n    import torch.nn"},
            "vla_bt.trees.a can come to import torch: trees/a.py:1 -> vla_bt/policy/b.py:2",
        ),
        (
            {"vla_bt/ros/a.py": "import vla_bt.policy.b", "vla_bt/policy/__init__.py": "import torch", "vla_bt/policy/b.py": ""},
            "vla_bt/ros/a.py:1 -> package of vla_bt.policy.b -> vla_bt/policy/__init__.py:1",
        ),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = violations(tmp_path)
    assert len(found) == 1, found
    assert complaint in found[0]


def test_what_the_rule_allows_is_not_reported(tmp_path: Path) -> None:
    files = {
        "vla_bt/cli/a.py": "import rclpy\nimport vla_bt.ros.node",
        "vla_bt/ros/node.py": "import rclpy, py_trees\nfrom vla_bt.trees.root import create_root",
        "trees/root.py": "import py_trees\nfrom vla_bt.behaviours.b import Leaf",
        "behaviours/b.py": "import py_trees\nfrom vla_bt.words import Twist\nfrom vla_bt.policy.client import Client",
        "vla_bt/words.py": "import math",
        "vla_bt/policy/__init__.py": "",
        "vla_bt/policy/client.py": "import socket",
        "vla_bt/policy/worker.py": "import torch",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert violations(tmp_path) == []


def test_the_tree_process_loads_no_torch() -> None:
    """What the graph promises, seen in a real interpreter."""
    has_ros = importlib.util.find_spec("rclpy") is not None
    names = [
        name
        for name, path in sources(REPOSITORY).items()
        if within(name, TORCH_FREE) and (has_ros or not within(name, ("vla_bt.ros",))) and path.stem != "__main__"
    ]
    assert "vla_bt.trees" in names
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint({TORCH} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"
