"""A policy network as it drives: one recurrent step a frame, text encoded once a goal, honest about what came out.

Promises: the same seed, goal and frames give the same actions; the memory starts anew with each goal and after a gap in time, and
can be snapshot and restored; text features are cached under (text, tokenizers, weights), so a changed weight is never
answered from an old cache; actions outside the declared range are cut and flagged; a non-finite one is handed out as it
is, for the caller to refuse, and wipes the memory, which it has spoilt.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_bt.policy.config import PolicyConfig
from vla_bt.policy.encoders import TextFeatures, Tokens, tokenizers_for
from vla_bt.policy.network import PolicyNetwork, State
from vla_bt.policy.port import PolicyInfo
from vla_bt.policy.preprocess import motion_of, views_of
from vla_bt.policy.step import NetworkStep
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO, Twist

_CACHED_GOALS = 64


@dataclass(frozen=True)
class Memento:
    """The memory at one moment: what :meth:`NetworkPolicy.snapshot` returns."""

    goal: str
    state: State
    last_time_s: float | None


class NetworkPolicy:
    """A :class:`~vla_bt.policy.port.Policy` around a :class:`PolicyNetwork`. Called from one thread.

    Parameters
    ----------
    network : PolicyNetwork
    tokenizers : dict
        The tokenizers it was built with.
    label : str
        What people are told about its weights.
    weights_hash : str
        Hexadecimal, empty for random weights.
    """

    def __init__(self, network: PolicyNetwork, tokenizers: dict[str, GoalTokenizer], label: str, weights_hash: str = "") -> None:
        self.network = network.eval()
        self.tokenizers = tokenizers
        config = network.config
        image = config.image
        self._info = PolicyInfo(config.name, label, image.frame_width, image.frame_height, weights_hash, fovy_deg=image.fovy_deg)
        self._cache: OrderedDict[tuple[object, ...], TextFeatures] = OrderedDict()
        self._limits = np.array(config.head.scale, np.float32)
        self._goal = ""
        self._text: TextFeatures | None = None
        self._text_cache_hit = False
        self._state: State = ()
        self._last_time_s: float | None = None
        self.eight_bit = False  # large layers hold 8-bit weights
        self.state_resets = 0  # memories started anew because of a gap or of non-finite numbers

    @classmethod
    def untrained(cls, config: PolicyConfig, seed: int = 0) -> NetworkPolicy:
        """Build with random weights (encoders that name a source are loaded from it); the same seed gives the same weights."""
        tokenizers = tokenizers_for(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = PolicyNetwork(config, tokenizers)
        return cls(network, tokenizers, "untrained")

    @property
    def config(self) -> PolicyConfig:
        """What the network is made of."""
        return self.network.config

    @property
    def info(self) -> PolicyInfo:
        """What it is."""
        return self._info

    def reset(self, goal: str) -> None:
        """Start a new goal: forget the memory, encode the text unless it is in the cache."""
        self._goal = goal
        self._state, self._last_time_s = (), None
        key = (goal, tuple(tokenizer.digest for tokenizer in self.tokenizers.values()), self._text_weights())
        found = self._cache.get(key)
        self._text_cache_hit = found is not None
        if found is None:
            with torch.inference_mode():
                found = self.network.encoders.text(self.tokens(goal))
            self._cache[key] = found
            if len(self._cache) > _CACHED_GOALS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        self._text = found

    def text_features(self) -> TextFeatures:
        """Return the current goal's encoded text."""
        if self._text is None:
            raise ValueError(f"policy {self.info.name} was given a frame before a goal")
        return self._text

    def tokens(self, goal: str) -> Tokens:
        """Turn a goal into what the text encoders take."""
        device = self.network.device
        encoded = {name: tokenizer.encode([goal]) for name, tokenizer in self.tokenizers.items()}
        return {name: (ids.to(device), mask.to(device)) for name, (ids, mask) in encoded.items()}

    def step(self, frame: NDArray[np.uint8] | None, time_s: float, measured: Twist) -> NetworkStep:
        """Take one recurrent step on one frame; see :class:`~vla_bt.policy.port.Policy`.

        ``text_cache_hit`` of the first step of a goal tells whether ``reset`` found it in the cache; later ones always hit.
        """
        if frame is None:
            raise ValueError(f"policy {self.info.name} needs a frame")
        text = self.text_features()
        started = time.perf_counter()
        if self._last_time_s is not None and not 0.0 <= time_s - self._last_time_s <= self.config.temporal.reset_gap_s:
            self._state = ()
            self.state_resets += 1
        elapsed_s = time_s - self._last_time_s if self._last_time_s is not None and self._state else 0.0
        self._last_time_s = time_s
        with torch.inference_mode():
            views = self.uploaded(views_of(frame, self.config)[None, None])
            motion = self.uploaded(torch.tensor([[motion_of(measured, elapsed_s)]], dtype=torch.float32))
            out = self.network(views, text, motion, self._state)
            self._state = out.state
            claim = out.actions.new_zeros(1) if out.stop_logit is None else torch.sigmoid(out.stop_logit[0])
            # One copy back, which is also the one place where a GPU is waited for.
            numbers = torch.cat([out.actions.flatten(), claim]).float().cpu().numpy()
        actions = _three_wide(numbers[:-1].reshape(out.actions.shape[-2:]))
        stop = float(numbers[-1])
        finite = np.isfinite(actions)
        limited = np.where(finite, np.clip(actions, -self._limits, self._limits), actions)
        hit, self._text_cache_hit = self._text_cache_hit, True
        step = NetworkStep(
            raw_actions=actions,
            actions=limited,
            action_period_s=self.config.head.period_s,
            stop_probability=stop,
            latency_s=time.perf_counter() - started,
            text_cache_hit=hit,
            clamped=bool((limited != actions)[finite].any()),
        )
        if not step.finite:
            self._state = ()
            self.state_resets += 1
        return step

    def to(self, device: str) -> NetworkPolicy:
        """Move to ``cpu`` or ``cuda``; returns itself.

        Raises
        ------
        SettingsError
            When there is no such device.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("no CUDA device is here; use --device cpu")
        try:
            self.network.to(device)
        except RuntimeError as error:
            raise SettingsError(f"device {device}: {' '.join(str(error).split())[:200]}") from None
        self.forget()
        return self

    def uploaded(self, tensor: Tensor) -> Tensor:
        """Bring a tensor to where the network computes, without waiting for it."""
        device = self.network.device
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    def forget(self) -> None:
        """Forget the goal, the memory and all encoded goals, as after a change of the network."""
        self.clear_cache()
        self._text, self._goal, self._state, self._last_time_s = None, "", (), None

    def snapshot(self) -> Memento:
        """Copy the memory."""
        return Memento(self._goal, tuple(tensor.clone() for tensor in self._state), self._last_time_s)

    def restore(self, memento: Memento) -> None:
        """Go back to a snapshot, its goal included."""
        self.reset(memento.goal)
        self._state = tuple(tensor.clone() for tensor in memento.state)
        self._last_time_s = memento.last_time_s

    def clear_cache(self) -> int:
        """Forget encoded goals but the current one's features; returns how many were dropped."""
        dropped = len(self._cache)
        self._cache.clear()
        return dropped

    def warm_up(self) -> float:
        """Run a goal and a frame through, forget both, and return the time the second such run took [s]."""
        frame = np.zeros((self.info.frame_height, self.info.frame_width, 3), np.uint8)
        elapsed = 0.0
        for _ in range(2):
            started = time.perf_counter()
            self.reset("go to the cup")
            self.clear_cache()
            self.step(frame, 0.0, ZERO)
            elapsed = time.perf_counter() - started
        self.forget()
        return elapsed

    def _text_weights(self) -> tuple[object, ...]:
        """Identify the weights the text went through: changed in place or replaced, they count as others."""
        encoders = self.network.encoders
        parts: list[torch.nn.Module | None] = [encoders.goal]
        if encoders.kosmos is not None and "kosmos" in self.tokenizers:
            parts.append(encoders.kosmos.text_model)
        if encoders.clip is not None and "clip" in self.tokenizers:
            parts += [encoders.clip.text_model, encoders.clip.text_projection]
        return tuple((id(weight), weight._version) for part in parts if part is not None for weight in part.parameters())


def set_threads(count: int) -> None:
    """Use so many CPU threads."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def _three_wide(actions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (chunk, 3) velocities; an action of two has no turning."""
    return np.pad(actions, ((0, 0), (0, 3 - actions.shape[1])))
