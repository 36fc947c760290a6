"""The policy network: encoders -> fusion -> memory -> head, from a configuration alone.

Promises: the same ``forward`` serves one streamed frame and a whole unrolled sequence, so that what is trained is what drives;
streamed and unrolled outputs agree to 1e-5. ``NetworkOutput`` names the fused and the remembered vectors, where further
heads can be attached in training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vla_bt.policy.config import HeadConfig, PolicyConfig, TemporalConfig
from vla_bt.policy.encoders import Encoders, TextFeatures, Words
from vla_bt.policy.fusion import Fusion
from vla_bt.policy.preprocess import normalised
from vla_bt.policy.tokenizer import GoalTokenizer

State = tuple[Tensor, ...]  # LSTM: (h, c); GRU, RNN: (h,); no memory: (); each (layers, batch, width)


class NetworkOutput(NamedTuple):
    """What the network yields for (batch, time).

    ``actions`` (batch, time, chunk, action_dim) in m/s and rad/s, before any limit; ``stop_logit`` (batch, time) or None;
    ``fused`` (batch, time, fusion.width); ``memory`` (batch, time, width of the memory); ``state`` to carry on from.
    """

    actions: Tensor
    stop_logit: Tensor | None
    fused: Tensor
    memory: Tensor
    state: State


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """For a single frame oneDNN repacks all recurrent weights on every call, which costs ten times the step itself.

    Only this one switch is touched: ``mkldnn.flags`` would also set float32 precisions, and warn about it.
    """
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class Memory(nn.Module):
    """The recurrent layers, or nothing."""

    def __init__(self, config: TemporalConfig, width: int) -> None:
        super().__init__()
        kinds: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        kind = kinds.get(config.kind)
        self.cell = kind(width, config.width, config.layers, batch_first=True) if kind else None
        self.width = config.width if kind else width

    def forward(self, fused: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the remembered vectors (batch, time, width) and the new state; an empty state starts anew."""
        if self.cell is None:
            return fused, ()
        carried: Any = None if not state else state if len(state) == 2 else state[0]
        streaming = fused.shape[1] == 1 and not torch.is_grad_enabled()
        with _without_onednn() if streaming else contextlib.nullcontext():
            remembered, after = self.cell(fused, carried)
        return remembered, tuple(after) if isinstance(after, tuple) else (after,)


class Head(nn.Module):
    """An MLP to a chunk of actions and, if asked, the claim that the goal is reached."""

    def __init__(self, config: HeadConfig, width: int) -> None:
        super().__init__()
        self.chunk, self.action_dim, self.raw_dim = config.chunk, config.action_dim, config.raw_dim or config.action_dim
        layers: list[nn.Module] = []
        for hidden in config.widths:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            width = hidden
        self.body = nn.Sequential(*layers)
        self.action = nn.Linear(width, self.chunk * self.raw_dim)
        self.stop = nn.Linear(width, 1) if config.stop else None
        self.tanh = config.tanh
        self.declared_scale = config.scale[: self.action_dim]
        self.register_buffer("scale", torch.tensor(self.declared_scale), persistent=False)
        self.scale: Tensor

    def forward(self, memory: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return actions (..., chunk, action_dim) and the stop logit (...)."""
        hidden = self.body(memory)
        raw = self.action(hidden).unflatten(-1, (self.chunk, self.raw_dim))[..., : self.action_dim]
        actions = (torch.tanh(raw) if self.tanh else raw) * self.scale
        return actions, None if self.stop is None else self.stop(hidden).squeeze(-1)


class PolicyNetwork(nn.Module):
    """A policy's network. Built in evaluation mode with torch's current random state.

    Parameters
    ----------
    config : PolicyConfig
    tokenizers : dict
        As ``tokenizers_for`` returns them.
    exact : dict, optional
        The saved models' own configurations (``model_configs``), when weights are to be loaded into them.
    """

    def __init__(
        self, config: PolicyConfig, tokenizers: dict[str, GoalTokenizer], exact: dict[str, dict[str, Any]] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.encoders = Encoders(config, tokenizers, exact or {})
        self.fusion = Fusion(config, self.encoders.shapes(config))
        self.memory = Memory(config.temporal, config.fusion.width)
        self.head = Head(config.head, self.memory.width)
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The type its weights compute in; float32 also where large layers are 8-bit."""
        return next(self.encoders.parameters(), self.head.action.weight).dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.action.weight.device

    def model_configs(self) -> dict[str, dict[str, Any]]:
        """Return the transformers configurations of the models inside, as plain values."""
        models = {"kosmos": self.encoders.kosmos, "clip": self.encoders.clip}
        return {name: model.config.to_dict() for name, model in models.items() if model is not None}

    def forward(self, views: Tensor, text: TextFeatures, motion: Tensor, state: State = ()) -> NetworkOutput:
        """Run over sequences of frames.

        Parameters
        ----------
        views : Tensor of uint8, shape (batch, time, views, 3, height, width)
            As ``preprocess.views_of`` makes them.
        text : dict
            ``encoders.text`` of each sequence's goal.
        motion : Tensor of float32, shape (batch, time, MOTION)
            As ``preprocess.motion_of`` tells it.
        state : tuple of Tensor
            Where an earlier call left off; empty to start.
        """
        batch, time = views.shape[:2]
        features: dict[str, Tensor | Words] = dict(self.encoders.image(normalised(views.flatten(0, 1), self.dtype)))
        features |= {name: _repeated(value, time) for name, value in text.items()}
        features["measured_twist"] = motion.flatten(0, 1).to(self.dtype)
        fused = self.fusion(features).unflatten(0, (batch, time))
        memory, after = self.memory(fused, state)
        actions, stop_logit = self.head(memory)
        return NetworkOutput(actions, stop_logit, fused, memory, after)


def _repeated(value: Tensor | Words, time: int) -> Tensor | Words:
    """Give each frame of a sequence the text of its goal."""
    if time == 1:
        return value
    if isinstance(value, Words):
        return Words(value.values.repeat_interleave(time, 0), value.mask.repeat_interleave(time, 0))
    return value.repeat_interleave(time, 0)
