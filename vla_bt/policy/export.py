"""A step as ONNX, for other runtimes: picture, motion, text and memory in, actions and memory out.

Promises: verified before it is kept: streamed over several frames in onnxruntime it must give torch's actions within 1e-4, its
memory carried outside. The goal's text stays an input, encoded once by the policy itself. TensorRT builds its engine from such a
file on the robot. Needs the extra ``[export]``.
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vla_bt.policy.compare import pictures
from vla_bt.policy.encoders import Words
from vla_bt.policy.network import PolicyNetwork, State
from vla_bt.policy.preprocess import motion_of, views_of
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.writing import whole_folder
from vla_bt.settings import SettingsError
from vla_bt.words import Twist

MODEL, CARD = "step.onnx", "step.json"
TOLERANCE = 1e-4
_FRAMES = 4
_GOAL = "go around the box on the left to the cup"


class _Step(nn.Module):
    """One step with everything it needs as an input, in a fixed order."""

    def __init__(self, network: PolicyNetwork, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, views: Tensor, motion: Tensor, text: tuple[Tensor, ...], state: State) -> tuple[Tensor, ...]:
        """Return actions (1, 1, chunk, action_dim), the stop logit if there is one, and the new memory."""
        out = self.network(views, dict(zip(self.names, text, strict=True)), motion, state)
        stop = () if out.stop_logit is None else (out.stop_logit,)
        return (out.actions, *stop, *out.state)


def export_onnx(policy: NetworkPolicy, folder: Path) -> float:
    """Write the step as ``step.onnx`` with ``step.json``, which names inputs and outputs; an earlier export is replaced.

    Returns
    -------
    float
        Largest difference from torch over the frames it was verified on [m/s or rad/s].

    Raises
    ------
    SettingsError
        When it can't be exported or written, or does not compute the same.
    """
    if policy.eight_bit:
        raise SettingsError(f"policy {policy.info.name}: 8-bit layers can't be exported; quantise where it will run")
    runtime = _needed("onnxruntime")
    for name in ("onnx", "onnxscript"):
        _needed(name)
    with torch.inference_mode(False), torch.no_grad():
        text = policy.network.encoders.text(policy.tokens(_GOAL))
        if any(isinstance(value, Words) for value in text.values()):
            raise SettingsError(f"policy {policy.info.name}: reads the goal word by word, of any length, which is not exported")
        features: dict[str, Tensor] = {name: value for name, value in text.items() if isinstance(value, Tensor)}
        views, motion = _inputs(policy)
        state = policy.network(views[0], features, motion).state
        step = _Step(policy.network.requires_grad_(False), list(features)).eval()
        given = (views[0], motion, tuple(features.values()), tuple(torch.zeros_like(part) for part in state))
        with whole_folder(folder, CARD) as fresh:
            _write(step, given, fresh / MODEL)
            session = runtime.InferenceSession(str(fresh / MODEL), providers=["CPUExecutionProvider"])
            worst = _difference(session, step, given, views)
            if not worst <= TOLERANCE:
                raise SettingsError(f"{folder}: not kept: it differs from torch by {worst:.2e}, allowed is {TOLERANCE:g}")
            (fresh / CARD).write_text(json.dumps(_card(policy, session, worst), indent=1) + "\n", encoding="utf-8")
    return worst


def _needed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SettingsError(f"export needs {name}; run: pip install 'vla_bt[export]'") from None


def _inputs(policy: NetworkPolicy) -> tuple[list[Tensor], Tensor]:
    frames = pictures(_FRAMES, policy.info.frame_height, policy.info.frame_width)
    views = [views_of(frame, policy.config)[None, None] for frame in frames]
    return views, torch.tensor([[motion_of(Twist(0.2, 0.0, 0.1), 0.1)]])


def _write(step: _Step, given: tuple[Any, ...], path: Path) -> None:
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program: Any = torch.onnx.export(step, given, dynamo=True, verbose=False)
        except Exception as error:  # the exporter has many of its own
            raise SettingsError(f"can't be exported: {' '.join(str(error).split())[:300]}") from None
        program.save(str(path))


def _difference(session: Any, step: _Step, given: tuple[Any, ...], views: list[Tensor]) -> float:
    """Stream frames through both, each carrying its own memory; return the largest difference of the actions."""
    _, motion, text, state = given
    names = [item.name for item in session.get_inputs()]
    theirs = [part.numpy() for part in state]
    worst = 0.0
    for picture in views:
        ours = step(picture, motion, text, state)
        state = ours[len(ours) - len(state) :]
        values = [picture.numpy(), motion.numpy(), *[part.numpy() for part in text], *theirs]
        found = session.run(None, dict(zip(names, values, strict=True)))
        theirs = found[len(found) - len(theirs) :]
        difference = float(np.abs(found[0] - ours[0].numpy()).max())
        worst = max(worst, difference) if np.isfinite(difference) else float("inf")
    return worst


def _card(policy: NetworkPolicy, session: Any, worst: float) -> dict[str, Any]:
    def shapes(items: Any) -> list[dict[str, Any]]:
        return [{"name": item.name, "shape": item.shape, "type": item.type} for item in items]

    return {
        "policy": policy.info.name,
        "label": policy.info.label,
        "weights_hash": policy.info.weights_hash,
        "inputs": shapes(session.get_inputs()),
        "outputs": shapes(session.get_outputs()),
        "largest_difference": worst,
    }
