"""The encoders: one ``Kosmos2Model``, one ``CLIPModel``, a convolutional stem or network, a small reader of goals.

Promises: the transformers are the real classes with their own key names; each is run at most once a frame and once a goal,
whatever features are taken from it; every feature keeps its name, so that training can attach to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bt.policy.config import ClipConfig, ImageConfig, KosmosConfig, PolicyConfig, Tower
from vla_bt.policy.preprocess import MOTION
from vla_bt.policy.source import read_model, read_sizes
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.settings import SettingsError

if TYPE_CHECKING:  # importing transformers takes seconds, and a network without its models need not wait
    from transformers import CLIPModel, Kosmos2Model


class Words(NamedTuple):
    """A text feature as a sequence: (batch, length, width), and where it is real: (batch, length)."""

    values: Tensor
    mask: Tensor


Tokens = dict[str, tuple[Tensor, Tensor]]  # per encoder with a text side: ids and mask
TextFeatures = dict[str, "Tensor | Words"]  # per text feature: a vector (batch, width), or Words


def tokenizers_for(config: PolicyConfig) -> dict[str, GoalTokenizer]:
    """Return the tokenizer of each encoder that reads the goal: its source's own, or the shipped one."""
    found: dict[str, GoalTokenizer] = {}
    for name in text_encoders(config):
        part = getattr(config, name)
        if getattr(part, "source", ""):
            found[name] = GoalTokenizer.from_source(part.source, part.revision, part.positions)
        else:
            found[name] = GoalTokenizer.shipped("kosmos" if name == "kosmos" else "clip", part.positions)
    return found


def text_encoders(config: PolicyConfig) -> list[str]:
    """Names of the encoders whose text side is used."""
    used = {"kosmos_text": "kosmos", "clip_text": "clip", "goal": "goal"}
    return [encoder for feature, encoder in used.items() if feature in config.features]


def source_sizes(config: PolicyConfig) -> dict[str, dict[str, Any]]:
    """Return the transformers configurations of the encoders that name a source, without their weights."""
    from transformers import CLIPConfig, Kosmos2Config

    parts = (("kosmos", config.kosmos, Kosmos2Config), ("clip", config.clip, CLIPConfig))
    return {name: read_sizes(kind, part.source, part.revision) for name, part, kind in parts if part and part.source}


def build_kosmos(
    config: KosmosConfig, image: ImageConfig, tokenizer: GoalTokenizer | None, exact: dict[str, Any] | None
) -> Kosmos2Model:
    """Build or load the Kosmos-2 model; ``exact`` is a saved model's own configuration, which then counts alone."""
    from transformers import Kosmos2Config, Kosmos2Model

    if exact is not None:
        return Kosmos2Model(Kosmos2Config.from_dict(exact))
    if config.source:
        return read_model(Kosmos2Model, config.source, config.revision)
    text = {"embed_dim": config.text.width, "layers": config.text.layers, "attention_heads": config.text.heads}
    text |= {"ffn_dim": config.text.mlp, "max_position_embeddings": config.positions}
    text["vocab_size"] = config.vocabulary or _vocabulary(tokenizer)
    vision = _vision_sizes(config.vision, image, config.patch)
    return Kosmos2Model(Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=config.latents))


def build_clip(
    config: ClipConfig, image: ImageConfig, tokenizer: GoalTokenizer | None, exact: dict[str, Any] | None
) -> CLIPModel:
    """Build or load the CLIP model; ``exact`` is a saved model's own configuration, which then counts alone."""
    from transformers import CLIPConfig, CLIPModel

    if exact is not None:
        return CLIPModel(CLIPConfig.from_dict(exact))
    if config.source:
        return read_model(CLIPModel, config.source, config.revision)
    text = {"hidden_size": config.text.width, "num_hidden_layers": config.text.layers}
    text |= {"num_attention_heads": config.text.heads, "intermediate_size": config.text.mlp}
    text |= {"max_position_embeddings": config.positions, "vocab_size": config.vocabulary or _vocabulary(tokenizer)}
    text["projection_dim"] = config.projection
    if tokenizer is not None:  # the text's vector is taken at its end mark, so both must mean the same word
        text |= {"bos_token_id": tokenizer.start, "eos_token_id": tokenizer.end, "pad_token_id": tokenizer.pad}
    vision = _vision_sizes(config.vision, image, config.patch) | {"projection_dim": config.projection}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.projection))


def _vocabulary(tokenizer: GoalTokenizer | None) -> int:
    return tokenizer.vocabulary if tokenizer is not None else 8  # nobody reads words: the smallest table will do


def _vision_sizes(tower: Tower, image: ImageConfig, patch: int) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.mlp,
        "num_channels": image.stem[-1] if image.stem else 3,
        "image_size": max(_halved(image, len(image.stem))),
        "patch_size": patch,
    }


def _stretched(model: Kosmos2Model | CLIPModel, pixels: Tensor) -> bool:
    """Tell whether the picture is not the model's own square, so that its table of positions must be interpolated."""
    side = model.config.vision_config.image_size
    return tuple(pixels.shape[-2:]) != (side, side)


def _halved(image: ImageConfig, times: int) -> tuple[int, int]:
    """Return (width, height) after so many convolutions of stride 2; an odd side is rounded up."""
    return -(-image.width // 2**times), -(-image.height // 2**times)


class ResidualBlock(nn.Module):
    """Two convolutions added to what came in (He et al. 2016); a new one changes nothing: trained networks can be given some."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.normalise = nn.GroupNorm(1, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for weight in self.second.parameters():
            nn.init.zeros_(weight)

    def forward(self, grid: Tensor) -> Tensor:
        """Return (frames, channels, height, width), as it came in; none below zero."""
        return functional.relu(grid + self.second(functional.relu(self.normalise(self.first(grid)))))


def convolutions(channels: tuple[int, ...], blocks: int = 0) -> nn.Sequential:
    """Stride-2 convolutions that keep where things are, and residual blocks at the last size.

    Normalised over all channels together: on a CPU that learns more than twice as fast as groups of them do.
    """
    layers: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(1, after), nn.ReLU()]
    return nn.Sequential(*layers, *(ResidualBlock(channels[-1]) for _ in range(blocks)))


class GoalReader(nn.Module):
    """Word vectors read in order by one recurrent layer; its last state is the goal's vector."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.reader = nn.GRU(width, width, batch_first=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, width) for ids and mask of (batch, length)."""
        states, _ = self.reader(self.embedding(ids))
        last = mask.sum(1) - 1
        return states[torch.arange(len(ids), device=ids.device), last]


class Encoders(nn.Module):
    """All encoders of a policy. Attributes ``kosmos``, ``clip``, ``stem``, ``cnn``, ``goal``; absent ones are None."""

    def __init__(self, config: PolicyConfig, tokenizers: dict[str, GoalTokenizer], exact: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self.features = dict(config.features)
        image, kosmos, clip = config.image, config.kosmos, config.clip
        self.kosmos = build_kosmos(kosmos, image, tokenizers.get("kosmos"), exact.get("kosmos")) if kosmos else None
        self.clip = build_clip(clip, image, tokenizers.get("clip"), exact.get("clip")) if clip else None
        self._check_words(config, tokenizers)
        self.stem = convolutions(image.stem) if image.stem else None
        self.cnn = convolutions(config.cnn.channels, config.cnn.blocks) if config.cnn else None
        self.goal = GoalReader(tokenizers["goal"].vocabulary, config.goal.width) if config.goal else None

    def _check_words(self, config: PolicyConfig, tokenizers: dict[str, GoalTokenizer]) -> None:
        """Refuse a tokenizer that knows more words, or longer texts, than its model."""
        for name, model in (("kosmos", self.kosmos), ("clip", self.clip)):
            if model is None or name not in tokenizers:
                continue
            text, part = model.config.text_config, getattr(config, name)
            for what, wanted, there in (
                ("words", tokenizers[name].vocabulary, text.vocab_size),
                ("tokens", part.positions, text.max_position_embeddings),
            ):
                if wanted > there:
                    raise SettingsError(
                        f"policy {config.name}: {name}'s tokenizer makes {wanted} {what}, its model takes {there}"
                    )

    def text(self, tokens: Tokens) -> TextFeatures:
        """Encode goals once.

        Parameters
        ----------
        tokens : dict
            For each of :func:`text_encoders`, ids and mask of shape (batch, length).
        """
        found: TextFeatures = {}
        if "kosmos_text" in self.features:
            assert self.kosmos is not None
            ids, mask = tokens["kosmos"]
            states = self.kosmos.text_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            # Later tokens have seen all earlier ones; the mean keeps every word near, whatever the length.
            weights = mask[..., None].to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1)
            found["kosmos_text"] = Words(states, mask) if self.features["kosmos_text"] == "tokens" else pooled
        if "clip_text" in self.features:
            assert self.clip is not None
            ids, mask = tokens["clip"]
            out = self.clip.text_model(input_ids=ids, attention_mask=mask)
            words = self.features["clip_text"] == "tokens"
            found["clip_text"] = Words(out.last_hidden_state, mask) if words else self.clip.text_projection(out.pooler_output)
        if self.goal is not None:
            found["goal"] = self.goal(*tokens["goal"])
        return found

    def image(self, views: Tensor) -> dict[str, Tensor]:
        """Encode frames.

        Parameters
        ----------
        views : Tensor of float, shape (frames, views, 3, height, width)
            Normalised; the last view is CLIP's.

        Returns
        -------
        dict
            Per image feature (frames, width) when pooled, else (frames, places, width).
        """
        found: dict[str, Tensor] = {}
        whole = views[:, 0]
        if self.cnn is not None:
            grid = self.cnn(whole).flatten(2).transpose(1, 2)
            found["cnn"] = grid.mean(1) if self.features["cnn"] == "pooled" else grid
        if self.stem is not None:
            whole = self.stem(whole)
        if self.kosmos is not None:
            found |= self._kosmos_image(whole)
        if self.clip is not None:
            crop = views[:, -1]
            seen = whole if views.shape[1] == 1 else crop if self.stem is None else self.stem(crop)
            found |= self.clip_image(seen)
        return found

    def _kosmos_image(self, pixels: Tensor) -> dict[str, Tensor]:
        form, projected = self.features.get("kosmos_vision"), self.features.get("kosmos_image")
        if self.kosmos is None or not (form or projected):
            return {}
        found: dict[str, Tensor] = {}
        out = self.kosmos.vision_model(pixel_values=pixels, interpolate_pos_encoding=_stretched(self.kosmos, pixels))
        states = self.kosmos.vision_model.model.post_layernorm(out.last_hidden_state)
        if form:
            found["kosmos_vision"] = states[:, 0] if form == "pooled" else states[:, 1:]
        if projected:  # as Kosmos2Model.get_image_features, without running the vision tower again
            latents, _ = self.kosmos.image_to_text_projection(functional.normalize(states, dim=-1))
            found["kosmos_image"] = latents.mean(1) if projected == "pooled" else latents
        return found

    def clip_image(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return CLIP's image features for its view, normalised, (frames, 3 or the stem's channels, height, width)."""
        form, projected = self.features.get("clip_vision"), "clip_image" in self.features
        if self.clip is None or not (form or projected):
            return {}
        found: dict[str, Tensor] = {}
        out = self.clip.vision_model(pixel_values=pixels, interpolate_pos_encoding=_stretched(self.clip, pixels))
        if form == "pooled":
            found["clip_vision"] = out.pooler_output
        elif form:
            found["clip_vision"] = self.clip.vision_model.post_layernorm(out.last_hidden_state)[:, 1:]
        if projected:
            found["clip_image"] = self.clip.visual_projection(out.pooler_output)
        return found

    def shapes(self, config: PolicyConfig) -> dict[str, tuple[int, int]]:
        """Return (places, width) of every feature; places is 0 for a vector.

        Read from the models themselves, because a loaded folder brings its own sizes.
        """
        image = config.image
        widths: dict[str, int] = {"measured_twist": MOTION}
        grids: dict[str, int] = {}
        stem = _halved(image, len(image.stem))
        if self.kosmos is not None:
            vision = self.kosmos.config.vision_config
            widths |= {"kosmos_vision": vision.hidden_size, "kosmos_text": self.kosmos.config.text_config.embed_dim}
            widths["kosmos_image"] = self.kosmos.config.text_config.embed_dim
            grids["kosmos_image"] = self.kosmos.config.latent_query_num
            grids["kosmos_vision"] = (stem[0] // vision.patch_size) * (stem[1] // vision.patch_size)
        if self.clip is not None:
            vision, text = self.clip.config.vision_config, self.clip.config.text_config
            words = self.features.get("clip_text") == "tokens"
            widths |= {"clip_vision": vision.hidden_size, "clip_image": self.clip.config.projection_dim}
            widths["clip_text"] = text.hidden_size if words else self.clip.config.projection_dim
            grids["clip_vision"] = (stem[0] // vision.patch_size) * (stem[1] // vision.patch_size)
        if config.cnn:
            widths["cnn"] = config.cnn.channels[-1]
            wide, tall = _halved(image, len(config.cnn.channels))
            grids["cnn"] = wide * tall
        if config.goal:
            widths["goal"] = config.goal.width
        return {name: (0 if form == "pooled" else grids.get(name, 1), widths[name]) for name, form in self.features.items()}
