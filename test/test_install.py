"""tools/install.sh: what it says and does before it downloads anything, against a python and an apt-get of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vla_bt.cli import doctor

REPOSITORY = Path(__file__).resolve().parents[1]

# Answers the script's questions as the files beside it say, and knows nothing else.
PYTHON = """#!/bin/bash
here=$(dirname "$0")
case "$*" in
    *print*) echo 3.11 ;;
    *sys.version_info*) exit "$(cat "$here/is_old")" ;;
    *ensurepip*) [[ -e $here/has_venv ]] ;;
    *libEGL*) [[ -e $here/has_egl ]] ;;
    "-m venv "*) echo "venv asked for" >&2; exit 1 ;;
    *) exit 1 ;;
esac
"""


class Machine:
    """A copy of the script with programs of its own around it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "programs"
        self.programs.mkdir()
        (root / "tools").mkdir()
        shutil.copy(REPOSITORY / "tools" / "install.sh", root / "tools")
        for name in ("setup.py", "constraints.txt"):
            shutil.copy(REPOSITORY / name, root)
        self.program("python3", PYTHON)
        self.program("apt-get", f'#!/bin/bash\necho "$*" >>{root}/apt.log\n')
        self.program("sudo", "#!/bin/bash\nexit 1\n")
        (self.programs / "is_old").write_text("0")

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def has(self, *names: str) -> None:
        for name in names:
            (self.programs / name).touch()

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        variables = {**inherited, "PATH": f"{self.programs}:{os.environ['PATH']}", **environment}
        command = [self.root / "tools" / "install.sh"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, env=variables, stdin=subprocess.DEVNULL)

    @property
    def asked_of_apt(self) -> list[str]:
        log = self.root / "apt.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python_is_one_line(machine: Machine) -> None:
    done = machine.install(PYTHON="python9.9")
    assert done.returncode != 0
    assert done.stderr == "error: no python9.9 here; install Python 3.10 or newer (apt: python3 python3-venv)\n"


def test_an_old_python_is_one_line(machine: Machine) -> None:
    (machine.programs / "is_old").write_text("1")
    done = machine.install()
    assert done.returncode != 0
    assert "3.10 or newer is needed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs without a password")
def test_root_gets_what_is_missing_from_apt(machine: Machine) -> None:
    done = machine.install()
    assert machine.asked_of_apt == [
        "update",
        "install -y --no-install-recommends python3.11-venv libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0",
    ]
    assert done.returncode != 0  # this python makes no environment


@pytest.mark.skipif(os.geteuid() == 0, reason="root needs no password")
def test_others_are_told_the_one_line(machine: Machine) -> None:
    machine.has("has_venv")
    done = machine.install()
    assert done.returncode != 0
    assert done.stderr == "error: missing: libEGL; run: sudo apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0\n"
    assert machine.asked_of_apt == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs without a password")
def test_a_failing_apt_is_shown(machine: Machine) -> None:
    machine.program("apt-get", "#!/bin/bash\necho 'no route to the archive' >&2\nexit 100\n")
    done = machine.install()
    assert done.returncode != 0
    assert "no route to the archive" in done.stderr
    assert "the whole log is in build/install.log" in done.stderr


def test_nothing_is_asked_of_apt_where_nothing_is_missing(machine: Machine) -> None:
    machine.has("has_venv", "has_egl")
    done = machine.install()
    assert machine.asked_of_apt == []
    assert done.returncode != 0
    assert "making .venv with Python 3.11" in done.stdout


def test_a_second_call_does_nothing_until_something_changes(machine: Machine) -> None:
    machine.has("has_venv", "has_egl")
    # an environment that passes for a good one: its python answers everything, its pip installs everything
    (machine.root / ".venv" / "bin").mkdir(parents=True)
    python = machine.root / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/bash\necho "$*" >>{machine.root}/venv.log\necho "3.11 {machine.root}/.venv"\n')
    python.chmod(0o755)
    assert machine.install().returncode == 0
    first = (machine.root / "venv.log").read_text()
    assert "-m pip install -e .[ros,sim,train,export,dev]" in first
    again = machine.install()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert "pip" not in (machine.root / "venv.log").read_text().removeprefix(first)
    with (machine.root / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert machine.install().returncode == 0
    assert (machine.root / "venv.log").read_text().count("-m pip install") == 2


def test_the_doctor_names_the_same_libraries() -> None:
    assert f"gl_packages=({doctor.GL_PACKAGES})\n" in (REPOSITORY / "tools" / "install.sh").read_text()
