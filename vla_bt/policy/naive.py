"""The original document's own forward pass, on our network's weights: the rung everything else is measured from.

It tokenises and encodes the goal for every frame, prepares the picture once for each encoder with the reference image processor,
and runs the recurrent layers the ordinary way from an empty state. Above it stands Kosmos-2 as its own processor feeds it, with
the picture's places among the words: then the text can't be encoded without the picture. RoboVLMs' way runs a window of eight
frames anew each time, its text beside every frame. Promises: the same weights, precision and process as what it is compared with,
and, that one call of Kosmos-2 aside, the same features.
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
    places : bool
        Feed Kosmos-2 as its own processor does; only where :func:`has_places`.
    """

    def __init__(
        self, policy: NetworkPolicy, goal: str, cached_text: bool = False, own_preprocess: bool = False, places: bool = False
    ) -> None:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        image = policy.config.image
        self._policy, self._goal, self._own, self._places = policy, goal, own_preprocess, places
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
            features: dict[str, Tensor | Words] = {}
            if self._places:
                features |= self._with_places(views)
            else:
                features |= network.encoders.image(views)
                features |= self._text if self._text is not None else network.encoders.text(self._tokens(len(frames)))
            motion = torch.tensor([motion_of(measured, 0.0)], device=network.device, dtype=network.dtype)
            features["measured_twist"] = motion.expand(len(frames), -1)
            fused = network.fusion(features)[None]
            actions, _ = network.head(_ordinarily(network.memory, fused)[:, -1])
            result: NDArray[np.float32] = actions[0].float().cpu().numpy()
        return result

    def _with_places(self, views: Tensor) -> dict[str, Tensor]:
        """Return the features of one call of ``Kosmos2Model``, which reads <s>, a mark, the picture, a mark, the words, </s>."""
        encoders, tokens = self._policy.network.encoders, self._tokens(len(views))
        assert encoders.kosmos is not None
        (ids, mask), count = tokens["kosmos"], encoders.kosmos.config.latent_query_num
        # Which words stand at the places does not matter: the picture takes theirs; the marks cost what any word costs.
        ids = torch.cat([ids[:, :1].expand(-1, count + 3), ids[:, 1:]], 1)
        mask = torch.cat([mask[:, :1].expand(-1, count + 3), mask[:, 1:]], 1)
        places = torch.zeros_like(ids)
        places[:, 2 : 2 + count] = 1
        out = encoders.kosmos(
            pixel_values=views[:, 0], input_ids=ids, attention_mask=mask, image_embeds_position_mask=places, use_cache=False
        )
        weights = mask[..., None].to(out.last_hidden_state.dtype)
        states = encoders.kosmos.vision_model.model.post_layernorm(out.vision_model_output.last_hidden_state)
        features = {"kosmos_vision": states[:, 0], "kosmos_image": out.image_embeds.mean(1)}
        features["kosmos_text"] = (out.last_hidden_state * weights).sum(1) / weights.sum(1)
        if encoders.clip is not None:
            features |= encoders.clip_image(views[:, -1])
            if "clip" in tokens:
                ids, mask = tokens["clip"]
                words = encoders.clip.text_model(input_ids=ids, attention_mask=mask).pooler_output
                features["clip_text"] = encoders.clip.text_projection(words)
        return features

    def _tokens(self, frames: int) -> dict[str, tuple[Tensor, Tensor]]:
        once = self._policy.tokens(self._goal)
        return {name: (ids.repeat(frames, 1), mask.repeat(frames, 1)) for name, (ids, mask) in once.items()}

    def _views(self, frame: NDArray[np.uint8]) -> Tensor:
        """Return (views, 3, height, width), normalised."""
        if self._own:
            return normalised(views_of(frame, self._policy.config))
        pictures = [self._processor(frame, return_tensors="pt")["pixel_values"] for _ in range(self._pictures)]
        return torch.cat(pictures)


def has_places(policy: NetworkPolicy) -> bool:
    """Tell whether a policy's Kosmos-2 sees the plain picture and reads the goal, and its features are plain vectors."""
    config = policy.config
    plain = not config.image.stem and set(config.features.values()) == {"pooled"}
    kosmos = policy.network.encoders.kosmos
    side = 0 if kosmos is None else kosmos.config.vision_config.image_size
    return plain and "kosmos_text" in config.features and (config.image.width, config.image.height) == (side, side)


def _ordinarily(memory: Memory, fused: Tensor) -> Tensor:
    """Run the recurrent layers as any module is run."""
    if memory.cell is None:
        return fused
    remembered: Tensor = memory.cell(fused)[0]
    return remembered
