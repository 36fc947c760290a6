"""The one place that imports MuJoCo and owns OpenGL contexts.

Promises: ``MUJOCO_GL`` defaults to ``egl`` (no screen needed); what is missing is named in one line with the way to install it.
One context per thread, shared by all worlds of that thread, freed before the EGL display goes at exit.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

EGL_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"
_EGL_HELP = f"off-screen OpenGL (EGL) is missing: apt-get install {EGL_PACKAGES}"


class SimulatorError(RuntimeError):
    """The simulator can't run here; the message is one line, fit for a user."""


def _import_mujoco() -> Any:
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        if error.name == "mujoco":
            raise SimulatorError("MuJoCo is not installed: pip install 'vla_bt[sim]'") from None
        raise SimulatorError(f"{_EGL_HELP} ({error})") from error
    except (ImportError, AttributeError, OSError) as error:  # PyOpenGL without libEGL raises any of these
        raise SimulatorError(f"{_EGL_HELP} ({' '.join(str(error).split())})") from error
    return mujoco


mujoco: Any = _import_mujoco()

_local = threading.local()
_contexts: list[Any] = []


def make_gl_current() -> None:
    """Make this thread's off-screen context current, creating it at first use.

    Raises
    ------
    SimulatorError
        When there is no way to render off screen.
    """
    context = getattr(_local, "context", None)
    if context is None:
        try:
            from mujoco.gl_context import GLContext

            context = GLContext(16, 16)  # the size is unused: frames are drawn into framebuffer objects
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            raise SimulatorError(f"{_EGL_HELP} ({' '.join(str(error).split())})") from error
        _local.context = context
        if not _contexts:
            atexit.register(_free_contexts)  # after MuJoCo registered the end of its display, so it runs before that
        _contexts.append(context)
    context.make_current()


def _free_contexts() -> None:
    while _contexts:
        _contexts.pop().free()
