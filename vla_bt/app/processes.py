"""The application's processes on one machine: started together, watched, and ended so that nothing is left behind.

Promises: every child ends when this process does, however that happens (the kernel sends it SIGTERM); :meth:`ProcessGroup.close`
ends them by pid, the tree first and the gate last, so that zero velocity is the last thing on ``cmd_vel``; the runtime directory
with its rings and sockets is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from vla_bt.parent import die_with_parent

MODULES = {
    "sim": "vla_bt.ros.sim_node",
    "bridge": "vla_bt.ros.camera_bridge",
    "gate": "vla_bt.ros.gate_node",
    "tree": "vla_bt.ros.tree_node",
    "camera": "vla_bt.ros.camera_node",
    "dashboard": "vla_bt.cli.main",
}
"""Process name -> the module that is its ``main``."""

ENDING = ("dashboard", "tree", "sim", "camera", "bridge", "gate")
"""The order in which they end."""

PATIENCE_S = 4.0


def left_behind(directory: Path) -> list[str]:
    """Name what is left of a group: its runtime directory, and living processes that were told of it."""
    left = [str(directory)] if directory.exists() else []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone by now, or another user's
            if process.environ().get("VLA_BT_RUNTIME_DIR") == str(directory):
                left.append(f"process {process.pid}: {' '.join(process.cmdline())}")
    return left


@contextlib.contextmanager
def beside(name: str, *arguments: str, missed: str) -> Iterator[None]:
    """Run a process beside this one, on the same terminal; it ends with the block and, whatever happens, with this process.

    If it ends earlier, standard error gets a line that says so, with ``missed``: what is the matter without it.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", MODULES[name], *arguments],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    ending = threading.Event()

    def watch() -> None:
        code = child.wait()
        if not ending.is_set():
            print(f"{name} has ended (exit code {code}): {missed}", file=sys.stderr, flush=True)

    threading.Thread(target=watch, name=f"watch {name}", daemon=True).start()
    try:
        yield
    finally:
        ending.set()
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class ProcessGroup:
    """Children with one ROS domain, one runtime directory and one folder of logs.

    Parameters
    ----------
    directory : Path
        Runtime directory for rings and sockets; made here, removed by :meth:`close`.
    logs : Path
        Folder for each child's output.
    domain : int
        ROS domain.
    extra : sequence of str
        Arguments for every child, after its own.
    """

    def __init__(self, directory: Path, logs: Path, domain: int, extra: Sequence[str] = ()) -> None:
        self.directory = directory
        self.logs = logs
        self.extra = extra
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "VLA_BT_RUNTIME_DIR": str(directory),
            "PYTHONUNBUFFERED": "1",
        }
        directory.mkdir(mode=0o700, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[str] = ()) -> None:
        """Start a child; one that runs under this name is ended before."""
        self.end(name)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", MODULES[name], *arguments, *self.extra],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches us alone; we end them in order
                preexec_fn=die_with_parent,
            )

    def dead(self) -> dict[str, str]:
        """Name the children that have ended by themselves, with the last line they wrote."""
        return {name: self.last_words(name) for name, child in self.children.items() if child.poll() is not None}

    def last_words(self, name: str) -> str:
        """Return the last line a child wrote."""
        with contextlib.suppress(OSError):
            lines = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else "it said nothing"
        return "it left no log"

    def end(self, name: str) -> int | None:
        """End a child by its pid: SIGTERM, and SIGKILL if it does not go. Returns its exit code, None if it didn't run."""
        child = self.children.pop(name, None)
        if child is None:
            return None
        for number, patience_s in ((signal.SIGTERM, PATIENCE_S), (signal.SIGCONT, 0.1), (signal.SIGKILL, PATIENCE_S)):
            if child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience_s)
        return child.poll()

    def close(self) -> dict[str, int | None]:
        """End all children in order and remove the runtime directory; returns their exit codes."""
        names = [name for name in ENDING if name in self.children]
        codes = {name: self.end(name) for name in names}
        for _ in range(20):  # a worker that follows its tree may still be closing its socket
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                break
            time.sleep(0.05)
        return codes
