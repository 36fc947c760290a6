"""The network while it learns: auxiliary heads, losses, steps, averaged weights.

Promises: what is trained is the very network that drives, unrolled; the auxiliary heads are no part of it and are left behind at
export. Labels beyond the declared range of actions are cut to it, as the policy's own actions are.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bt.policy.config import TEXT_FEATURES, PolicyConfig
from vla_bt.policy.encoders import Words, tokenizers_for
from vla_bt.policy.network import PolicyNetwork, State
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.settings import SettingsError
from vla_bt.train.data import Batch
from vla_bt.train.practice import AUXILIARY
from vla_bt.train.settings import TrainSettings

TOLD = ("left", "right", "", "refused")
"""What the words ask for, an auxiliary question to the text side alone."""

_USUAL_INPUTS = 256
_WARM_UP = 0.05
_LAST_RATE = 0.03
_CLIP = 1.0
_NEAR_M, _NEAR_WEIGHT = 0.7, 3.0
"""At the cup 7 cm decide whether the robot stands too far off, right, or touches: frames that near count more."""
_HAND_M = 0.3


def device_of(settings: TrainSettings) -> torch.device:
    """Return where to learn.

    Raises
    ------
    SettingsError
        When this machine has no such device.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"device is cuda, but torch {torch.__version__} finds no such device here; expected cpu")
    return torch.device(settings.device)


class Learner:
    """A network, its auxiliary heads and their optimiser.

    Parameters
    ----------
    config : PolicyConfig
    settings : TrainSettings
    device : torch.device, optional
        Where it learns; default: as the settings say. Weights are drawn on the processor, the same for every device.
    """

    def __init__(self, config: PolicyConfig, settings: TrainSettings, device: torch.device | None = None) -> None:
        self.settings = settings
        self.device = device or device_of(settings)
        self.tokenizers = tokenizers_for(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = PolicyNetwork(config, self.tokenizers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            width = self.network.memory.width
            self.auxiliary = nn.ModuleDict(
                {
                    "remembered": nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, AUXILIARY)),
                    "seen": nn.Linear(config.fusion.width, AUXILIARY),
                }
            )
            words = sum(size for name, (_, size) in self.network.encoders.shapes(config).items() if name in TEXT_FEATURES)
            self.told = nn.Linear(words, len(TOLD))
        self._modules = nn.ModuleList([self.network, self.auxiliary, self.told]).to(self.device)
        self.averaged = copy.deepcopy(self.network)
        groups: dict[float, list[nn.Parameter]] = {}
        for weight in self._modules.parameters():
            groups.setdefault(_share_of_rate(weight), []).append(weight)
        self._shares = list(groups)
        self.optimiser = torch.optim.AdamW([{"params": part} for part in groups.values()], weight_decay=settings.weight_decay)
        self.steps = 0
        self._state: State = ()

    def start_from(self, weights: Mapping[str, Tensor]) -> list[str]:
        """Take over whatever fits by name and shape, a convolutional network also as the stem of transformers.

        Returns
        -------
        list of str
            Names of what was taken.
        """
        renamed = {name.replace("encoders.cnn.", "encoders.stem."): tensor for name, tensor in weights.items()} | dict(weights)
        taken = []
        with torch.no_grad():
            for name, own in self.network.state_dict().items():
                given = renamed.get(name)
                if given is not None and given.shape == own.shape:
                    own.copy_(given)
                    taken.append(name)
        self.averaged.load_state_dict(self.network.state_dict())
        return taken

    def rate(self, share: float, peak: float) -> float:
        """Return the learning rate at a share (0..1) of a round: a short rise, then a cosine down."""
        if share < _WARM_UP:
            return peak * share / _WARM_UP
        down = (share - _WARM_UP) / (1 - _WARM_UP)
        return peak * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * down)))

    def learn(self, batch: Batch, rate: float) -> dict[str, float]:
        """Take one step on one window; the memory goes on from the window before, unless it is the first."""
        self._modules.train()
        losses = self._losses(self.network, batch.to(self.device))
        settings = self.settings
        total = losses["action"] + settings.stop_weight * losses["stop"]
        total = total + settings.auxiliary_weight * (losses["remembered"] + 0.5 * losses["seen"])
        total = total + settings.told_weight * losses["told"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self._modules.parameters(), _CLIP)
        for group, share in zip(self.optimiser.param_groups, self._shares, strict=True):
            group["lr"] = rate * share
        self.optimiser.step()
        self.steps += 1
        self._average()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _losses(self, network: PolicyNetwork, batch: Batch) -> dict[str, Tensor]:
        """Return the losses; a window that is mostly over counts for what is left in it."""
        if batch.first:
            self._state = ()
        views = batch.frames.permute(0, 1, 4, 2, 3)[:, :, None]
        kind = self.device.type
        faster = network.config.cnn is not None and torch.amp.is_autocast_available(kind)
        fast = torch.autocast(kind, torch.bfloat16) if faster else contextlib.nullcontext()
        with fast:
            tokens = {name: coder.encode(batch.sentences) for name, coder in self.tokenizers.items()}
            text = network.encoders.text(
                {name: (ids.to(self.device), mask.to(self.device)) for name, (ids, mask) in tokens.items()}
            )
            out = network(views, text, batch.motion, self._state)
            places = {"remembered": self.auxiliary["remembered"](out.memory), "seen": self.auxiliary["seen"](out.fused)}
            told = self.told(torch.cat([_vector(feature) for feature in text.values()], dim=-1))
        self._state = tuple(part.detach() for part in out.state)
        scale = network.head.scale
        wanted = (batch.actions[..., : len(scale)] / scale).clamp(-1.0, 1.0)
        many = self.settings.batch * self.settings.window
        away = torch.hypot(batch.auxiliary[..., 0::2], batch.auxiliary[..., 1::2])
        at_cup = (away[..., 0] < _NEAR_M) * batch.known[..., 0]
        mask = batch.mask * (1.0 + (_NEAR_WEIGHT - 1.0) * at_cup)
        action = functional.smooth_l1_loss(out.actions.float() / scale, wanted, reduction="none", beta=0.1).mean((-1, -2))
        losses = {"action": (action * mask).sum() / many, "stop": torch.zeros((), device=self.device)}
        if out.stop_logit is not None:
            stop = functional.binary_cross_entropy_with_logits(out.stop_logit.float(), batch.stop, reduction="none")
            losses["stop"] = (stop * mask).sum() / many
        known = batch.known * batch.mask[..., None] / (many * AUXILIARY)
        nearness = 1.0 / (_HAND_M + away).repeat_interleave(2, dim=-1)  # a hand's breadth matters at the cup, not across the room
        for name, place in places.items():
            error = (place.float() - batch.auxiliary.clamp(-4.0, 4.0)) * nearness
            losses[name] = (functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.05) * known).sum()
        asked = torch.tensor([TOLD.index(word) for word in batch.told], device=self.device)
        losses["told"] = batch.mask.sum() / many * functional.cross_entropy(told.float(), asked)
        return losses

    def _average(self) -> None:
        decay = min(self.settings.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def policy(self, label: str) -> NetworkPolicy:
        """Return the policy of the averaged weights, on the processor."""
        network = copy.deepcopy(self.averaged).to("cpu", memory_format=torch.contiguous_format)
        return NetworkPolicy(network, self.tokenizers, label)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {
            "network": self.network.state_dict(),
            "auxiliary": self.auxiliary.state_dict(),
            "told": self.told.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.auxiliary.load_state_dict(state["auxiliary"])
        self.told.load_state_dict(state["told"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]


def _share_of_rate(weight: Tensor) -> float:
    """Return the share of the learning rate that a weight gets.

    A step of Adam moves each weight by the rate, so it moves what a layer yields by the rate times the layer's inputs: the layer
    that joins thousands of them would be thrown out of the range of its rectifiers in a few steps, never to come back.
    """
    return min(1.0, _USUAL_INPUTS / weight.shape[1]) if weight.ndim == 2 else 1.0


def _vector(feature: Tensor | Words) -> Tensor:
    """Return a text feature as one vector (batch, width); of words the mean."""
    if not isinstance(feature, Words):
        return feature
    weights = feature.mask[..., None].to(feature.values.dtype)
    return (feature.values * weights).sum(1) / weights.sum(1)
