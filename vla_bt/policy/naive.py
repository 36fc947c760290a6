"""The original document's own forward pass, on our network's weights: the rung everything else is measured from.

It tokenises and encodes the goal for every frame, prepares the picture once for each encoder with the reference image processor,
and runs the recurrent layers the ordinary way from an empty state. RoboVLMs' way runs a window of eight frames anew each time,
its text beside every frame. Promises: the same weights, precision and process as what it is compared with, and the same features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_bt.policy.encoders import TextFeatures, Words
from vla_bt.policy.network import Memory
from vla_bt.policy.preprocess import motion_of, normalised, views_of
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.words import Twist

WINDOW = 8


class NaivePolicy:
    """A policy's network driven as the document drives its own.

    Parameters
    ----------
    policy : NetworkPolicy
        Whose network and tokenizers are used.
    goal : str
        What it is told, anew with each frame.
    cached_text : bool
        Encode the goal once, as we do.
    own_preprocess : bool
        Prepare pictures as we do.
    """

    def __init__(self, policy: NetworkPolicy, goal: str, cached_text: bool = False, own_preprocess: bool = False) -> None:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        image = policy.config.image
        self._policy, self._goal, self._own = policy, goal, own_preprocess
        self._processor = CLIPImageProcessorPil(size={"height": image.height, "width": image.width}, do_center_crop=False)
        encoders = policy.network.encoders
        both = encoders.kosmos is not None and encoders.clip is not None and encoders.stem is None
        self._pictures = 2 if both else 1
        self._text: TextFeatures | None = None
        if cached_text:
            with torch.inference_mode():
                self._text = encoders.text(policy.tokens(goal))

    def step(self, frames: Sequence[NDArray[np.uint8]], measured: Twist) -> NDArray[np.float32]:
        """Run over frames, one or a window, from an empty memory; returns the last frame's actions, (chunk, action_dim)."""
        network = self._policy.network
        with torch.inference_mode():
            views = torch.stack([self._views(frame) for frame in frames]).to(network.device, network.dtype)
            text = self._text if self._text is not None else network.encoders.text(self._tokens(len(frames)))
            features: dict[str, Tensor | Words] = dict(network.encoders.image(views))
            features |= text
            motion = torch.tensor([motion_of(measured, 0.0)], device=network.device, dtype=network.dtype)
            features["measured_twist"] = motion.expand(len(frames), -1)
            fused = network.fusion(features)[None]
            actions, _ = network.head(_ordinarily(network.memory, fused)[:, -1])
            result: NDArray[np.float32] = actions[0].float().cpu().numpy()
        return result

    def _tokens(self, frames: int) -> dict[str, tuple[Tensor, Tensor]]:
        once = self._policy.tokens(self._goal)
        return {name: (ids.repeat(frames, 1), mask.repeat(frames, 1)) for name, (ids, mask) in once.items()}

    def _views(self, frame: NDArray[np.uint8]) -> Tensor:
        """Return (views, 3, height, width), normalised."""
        if self._own:
            return normalised(views_of(frame, self._policy.config))
        pictures = [self._processor(frame, return_tensors="pt")["pixel_values"] for _ in range(self._pictures)]
        return torch.cat(pictures)


def _ordinarily(memory: Memory, fused: Tensor) -> Tensor:
    """Run the recurrent layers as any module is run."""
    if memory.cell is None:
        return fused
    remembered: Tensor = memory.cell(fused)[0]
    return remembered
