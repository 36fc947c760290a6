"""What is installed is what the source tree holds: folders under their installed names, one version, one list of dependencies."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vla_bt

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {"vla_bt": "vla_bt", "trees": "vla_bt/trees", "behaviours": "vla_bt/behaviours", "config": "vla_bt/config"}
MODULES = {
    "opencv-python-headless": "cv2",
    "pyyaml": "yaml",
    "pillow": "PIL",
    "pyopengl": "OpenGL",
    "tensorboardx": "tensorboardX",
    "mcap-ros2-support": "mcap_ros2",
}
# rclpy's middleware, and what py_trees draws and transformers reads files with
LOADED_BY_OTHERS = {"rmw-fastrtps-cpp", "pydot", "sentencepiece"}
# what comes with rclpy, and what only a full ROS installation has
FROM_ROS_ALONE = {"rcl_interfaces", "builtin_interfaces", "py_trees_ros", "launch", "launch_ros", "ament_index_python"}
# Written so that this file does not hold what it looks for.
FOREIGN = re.compile(r"/(?:work|root|home)/[a-z]|(?:extra-index|find-links|index-url)[= ]\S*/|\.(?:internal|corp|lan)\b")


def declared() -> dict[str, Any]:
    """Return the literal keyword arguments of ``setup()``."""
    tree = ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8"))
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup")
    literal = {"version", "license", "python_requires", "install_requires", "extras_require"}
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg and keyword.arg in literal}


def shipped() -> set[str]:
    """Return every file that an installation must hold, under its installed name."""
    names = set()
    for folder, package in FOLDERS.items():
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                names.add(f"{package}/{path.relative_to(REPOSITORY / folder).as_posix()}")
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, without the network."""
    source = tmp_path_factory.mktemp("source")
    for folder in (*FOLDERS, "launch", "resource"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "pyproject.toml", "package.xml", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_under_its_installed_name(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert shipped() - names == set()
    extra = {name for name in names if name.startswith("vla_bt/")} - shipped()
    assert extra == set()
    assert not [name for name in names if name.startswith(("trees/", "behaviours/", "config/", "test/"))]


def test_the_wheel_holds_what_ros_looks_for(wheel: Path) -> None:
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert "share/ament_index/resource_index/packages/vla_bt" in names
    assert "share/vla_bt/package.xml" in names
    for folder, pattern in (("launch", "*.launch.py"), ("config", "**/*.yaml"), ("config", "**/*.xml")):
        for path in (REPOSITORY / folder).glob(pattern):
            assert f"share/vla_bt/{path.relative_to(REPOSITORY).as_posix()}" in names


def test_the_wheel_installs_the_program(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (listing,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    entries = configparser.ConfigParser()
    entries.read_string(archive.read(listing).decode())
    module, _, function = entries["console_scripts"]["vla-bt"].partition(":")
    tree = ast.parse(archive.read(module.replace(".", "/") + ".py"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_one_version_everywhere() -> None:
    manifest = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    assert manifest.findtext("version") == declared()["version"] == vla_bt.__version__


def test_one_licence_everywhere() -> None:
    manifest = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    assert manifest.findtext("license") == declared()["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (REPOSITORY / "LICENSE").read_text()


def constraints() -> list[Requirement]:
    """Return the pins."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_every_constraint_is_one_exact_public_version() -> None:
    for pin in constraints():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin}: expected one exact version without a local part"
        assert pin.url is None
    for python in ("3.10", "3.11", "3.13"):
        valid = [
            canonicalize_name(pin.name)
            for pin in constraints()
            if not pin.marker or pin.marker.evaluate({"python_version": python})
        ]
        assert len(valid) == len(set(valid)), f"a package is pinned twice for Python {python}"


def test_every_dependency_is_pinned_within_its_declared_range() -> None:
    pins = {canonicalize_name(pin.name): pin for pin in constraints() if not pin.marker or pin.marker.evaluate()}
    lists = [declared()["install_requires"], *declared()["extras_require"].values()]
    for requirement in (Requirement(line) for requirements in lists for line in requirements):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is declared in setup.py but not pinned in constraints.txt"
        version = str(pin.specifier).removeprefix("==")
        assert version in requirement.specifier, (
            f"{requirement.name}: setup.py wants {requirement.specifier}, pinned is {version}"
        )


def imported_packages() -> set[str]:
    """Return the top-level name of everything that the shipped sources import."""
    found = set()
    for folder in ("vla_bt", "trees", "behaviours"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module.partition(".")[0])
    return found


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    extras = declared()["extras_require"]
    lines = [*declared()["install_requires"], *extras["ros"], *extras["sim"]]
    names = {canonicalize_name(Requirement(line).name).removeprefix("ros-jazzy-") for line in lines}
    modules = {MODULES.get(name, name.replace("-", "_")): name for name in names}
    foreign = imported_packages() - set(sys.stdlib_module_names) - {"vla_bt"}
    spare = (*extras["dev"], *extras["export"], *extras["train"])
    spares = [canonicalize_name(Requirement(line).name) for line in spare]
    optional = {MODULES.get(name, name.replace("-", "_")) for name in spares}
    assert foreign - set(modules) - optional - FROM_ROS_ALONE == set(), "imported but not declared in setup.py"
    assert {modules[module] for module in set(modules) - foreign} - LOADED_BY_OTHERS == set(), "declared but never imported"


def test_no_tracked_file_names_a_machine() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, timeout=20)
    if listing.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listing.stdout.decode().split("\0")):
        path = REPOSITORY / name
        if not path.is_file() or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{name}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []
