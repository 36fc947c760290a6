"""``vla-bt doctor``: is this machine fit to run the robot or the simulator, and if not, what to do.

Promises: every line is OK, WARN (something optional is missing or scarce) or FAIL (something needed does not work) and, unless
OK, says what to do; the exit code is 0 only if nothing failed. What could hang or crash (graphics, DDS, torch) is tried for real,
in a process of its own with a deadline.

    vla-bt doctor
    vla-bt doctor --json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from vla_bt.settings import TreeSettings

OK, WARN, FAIL = "OK", "WARN", "FAIL"
GL_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"
SHM_NEEDED_MB = 16  # four 720p frames in the ring and the sockets
SHM_WANTED_MB = 64  # and Fast DDS's own segments, 32 MB for a camera

_RENDER = '''
import json, time
import mujoco
scene = """
<mujoco>
  <visual><quality offsamples="0"/><global offwidth="1280" offheight="720"/></visual>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="2 2 .1" rgba=".2 .6 .2 1"/>
    <geom type="box" pos="0 0 .2" size=".2 .2 .2" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>"""
model = mujoco.MjModel.from_xml_string(scene)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 720, 1280)
for _ in range(2):
    start = time.perf_counter()
    renderer.update_scene(data)
    picture = renderer.render()
    took = time.perf_counter() - start
from OpenGL import GL
by = GL.glGetString(GL.GL_RENDERER).decode()
print(json.dumps({"ms": 1000 * took, "spread": int(picture.max()) - int(picture.min()), "by": by}))
'''

_ROS = """
import json, time
start = time.perf_counter()
import rclpy
rclpy.init()
node = rclpy.create_node("vla_bt_doctor")
print(json.dumps({"ms": 1000 * (time.perf_counter() - start), "rmw": rclpy.get_rmw_implementation_identifier()}))
node.destroy_node()
rclpy.shutdown()
"""

_GPU = """
import json, torch
found = torch.cuda.is_available()
print(json.dumps({"name": torch.cuda.get_device_name(0) if found else "", "built_for": torch.version.cuda or ""}))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    name : str
        What was looked at.
    level : str
        ``OK``, ``WARN`` or ``FAIL``.
    text : str
        What was found.
    advice : str
        What to do about it; empty when OK.
    took_ms : float or None
        How long the thing itself took [ms], where that was measured.
    """

    name: str
    level: str
    text: str
    advice: str = ""
    took_ms: float | None = None


def probe(code: str, timeout_s: float = 60.0, **environment: str) -> tuple[dict[str, Any] | None, str]:
    """Run Python code that prints one JSON object, in a process of its own.

    Parameters
    ----------
    code : str
        The program.
    timeout_s : float
        The process is killed after this time [s].
    **environment : str
        Environment variables for it, besides ours.

    Returns
    -------
    dict or None
        What it printed, None if it failed.
    str
        Why it failed, in one line.
    """
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {timeout_s:g} s"
    if done.returncode < 0:
        return None, f"killed by signal {-done.returncode}"
    errors = [line.strip() for line in done.stderr.splitlines() if re.match(r"\w[\w.]*(Error|Exception)\b", line)]
    if done.returncode:
        return None, errors[0] if errors else f"exit code {done.returncode}"
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return None, "no answer"
    return answer, ""


def check_python() -> Finding:
    """Judge the interpreter."""
    text = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info >= (3, 14):
        return Finding("python", WARN, text, "use 3.10 to 3.13: there are no ROS packages on PyPI for newer ones")
    return Finding("python", OK, text)


def check_packages() -> list[Finding]:
    """Look for every declared dependency: the core ones must be there, those of ``[sim]`` should."""
    try:
        required = importlib.metadata.requires("vla_bt") or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("packages", FAIL, "vla_bt itself is not installed", "run: pip install -e .")]
    groups: dict[str, list[str]] = {}
    for line in required:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if name:
            groups.setdefault(extra[1] if extra else "", []).append(name[0])
    findings = []
    for group, level in (("", FAIL), ("sim", WARN)):
        label = f"packages [{group}]" if group else "packages"
        versions: dict[str, str | None] = {name: _version(name) for name in groups.get(group, [])}
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            target = f"vla_bt[{group}]" if group else "vla_bt"
            findings.append(Finding(label, level, f"missing: {', '.join(missing)}", f"run: pip install '{target}'"))
        else:
            findings.append(Finding(label, OK, ", ".join(f"{name} {version}" for name, version in versions.items())))
    return findings


def _version(distribution: str) -> str | None:
    """Return the installed version; a package that apt installed may be importable without one."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        module = {"opencv-python-headless": "cv2", "pyyaml": "yaml", "pillow": "PIL"}.get(distribution.lower(), distribution)
        return "(no version)" if importlib.util.find_spec(module.replace("-", "_")) else None


def check_ros() -> Finding:
    """Start a real node and shut it down again."""
    if importlib.util.find_spec("rclpy") is None:
        return Finding(
            "ros", WARN, "no rclpy: lockstep only", "run: pip install 'vla_bt[ros]', or source your ROS 2 installation"
        )
    from vla_bt.ros.environment import prepare

    prepare()
    answer, why = probe(_ROS)
    if answer is None:
        advice = "source your ROS 2 installation, or run: pip install 'vla_bt[ros]'; check RMW_IMPLEMENTATION"
        return Finding("ros", FAIL, f"rclpy does not start a node: {why}", advice)
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "as ROS_LOCALHOST_ONLY says")
    return Finding("ros", OK, f"{answer['rmw']}, domain {domain}, discovery range {reach.lower()}", took_ms=answer["ms"])


def check_py_trees_ros() -> Finding:
    """Tell whether the stock tree viewers will find streams to watch."""
    if importlib.util.find_spec("py_trees_ros") is None:
        advice = "for py-trees-tree-watcher and the stock viewer: apt install ros-<distribution>-py-trees-ros"
        return Finding("py_trees_ros", WARN, "absent: the tree runs the same, without its ROS streams", advice)
    return Finding("py_trees_ros", OK, _version("py_trees_ros") or "present")


def check_rendering() -> Finding:
    """Render one 720p frame without a screen."""
    if importlib.util.find_spec("mujoco") is None:
        return Finding("rendering", WARN, "no mujoco: no simulated robot here", "run: pip install 'vla_bt[sim]'")
    answer, why = probe(_RENDER, MUJOCO_GL="egl")
    advice = f"run: sudo apt-get install -y {GL_PACKAGES}"
    if answer is None:
        return Finding("rendering", FAIL, f"MuJoCo can't render without a screen: {why}", advice)
    if answer["spread"] < 50:
        return Finding("rendering", FAIL, f"the rendered picture is blank ({answer['by']})", advice)
    return Finding("rendering", OK, f"EGL by {answer['by']}", took_ms=answer["ms"])


def check_shared_memory(path: Path = Path("/dev/shm")) -> Finding:
    """See what is free where camera frames are passed on."""
    try:
        free_mb = shutil.disk_usage(path).free / 1e6
    except OSError as error:
        advice = "set VLA_BT_RUNTIME_DIR to a directory on a tmpfs"
        return Finding("shared memory", FAIL, f"{path}: {error.strerror}", advice)
    text = f"{free_mb:.0f} MB free in {path}"
    advice = "free some, or start the container with --shm-size=256m"
    if free_mb < SHM_NEEDED_MB or not os.access(path, os.W_OK):
        return Finding("shared memory", FAIL, text if free_mb < SHM_NEEDED_MB else f"{path} is not writable", advice)
    if free_mb < SHM_WANTED_MB:
        return Finding("shared memory", WARN, text, advice)
    return Finding("shared memory", OK, text)


def check_memory(available_mb: float, settings: TreeSettings) -> Finding:
    """Judge free memory by the limits at which the tree itself would act.

    Parameters
    ----------
    available_mb : float
        What the system can hand out without swapping [MB].
    settings : TreeSettings
        Where the limits stand.
    """
    text = f"{available_mb:.0f} MB available, {os.cpu_count()} CPUs"
    if available_mb < settings.memory_critical_mb:
        advice = f"close something: autonomy stops below {settings.memory_critical_mb:g} MB (memory_critical_mb)"
        return Finding("memory", FAIL, text, advice)
    if available_mb < settings.memory_warn_mb:
        return Finding(
            "memory", WARN, text, f"close something: caches are cleared below {settings.memory_warn_mb:g} MB (memory_warn_mb)"
        )
    return Finding("memory", OK, text)


def check_gpu() -> Finding:
    """Tell what torch would compute on. A CPU is enough for the small networks, so nothing here fails."""
    answer, why = probe(_GPU)
    if answer is None:
        return Finding("gpu", WARN, f"torch does not start: {why}", "run: pip install --force-reinstall torch")
    if answer["name"]:
        return Finding("gpu", OK, f"{answer['name']}, CUDA {answer['built_for']}")
    if Path("/dev/nvidiactl").exists() or Path("/dev/nvhost-gpu").exists():
        advice = "install a torch built for this GPU (on Jetson: NVIDIA's own wheel)"
        return Finding(
            "gpu", WARN, f"there is an NVIDIA GPU, but torch ({answer['built_for'] or 'CPU build'}) can't use it", advice
        )
    return Finding("gpu", OK, "none: torch computes on the CPU")


def examine() -> list[Finding]:
    """Run every check, in the order of the report."""
    return [
        check_python(),
        *check_packages(),
        check_ros(),
        check_py_trees_ros(),
        check_rendering(),
        check_shared_memory(),
        check_memory(psutil.virtual_memory().available / 1e6, TreeSettings()),
        check_gpu(),
    ]


def report(findings: list[Finding]) -> str:
    """Lay the findings out for a terminal."""
    lines = []
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        took = "" if finding.took_ms is None else f" ({finding.took_ms:.0f} ms)"
        lines.append(f"{finding.level:4}  {finding.name:{width}}  {finding.text}{took}")
        if finding.advice:
            lines.append(f"{'':4}  {'':{width}}  -> {finding.advice}")
    return "\n".join(lines)


def add_parser(subparsers: Any) -> None:
    """Add the verb ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and say what to do",
        description="Check this machine: packages, ROS 2, graphics, memory.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 only if nothing failed."""
    findings = examine()
    failed = [finding.name for finding in findings if finding.level == FAIL]
    if args.json:
        checks = [{key: value for key, value in asdict(finding).items() if key != "took_ms"} for finding in findings]
        timing = {f"{finding.name}_ms": round(finding.took_ms, 1) for finding in findings if finding.took_ms is not None}
        print(json.dumps({"result": {"ok": not failed, "checks": checks}, "timing": timing}, indent=2))
    else:
        print(report(findings))
    return 1 if failed else 0
