"""Joining features into one vector a frame: concatenation with one linear layer, after a resampler or cross-attention if asked.

Promises: a spatial feature goes through a 1x1 convolution and is flattened, so that where things are survives; token features are
read by attention; vectors are taken as they are, scaled first if the configuration says so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bt.policy.config import TEXT_FEATURES, PolicyConfig
from vla_bt.policy.encoders import Words


class AttentionLayer(nn.Module):
    """Queries look at a sequence, then think for themselves (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query_norm, self.key_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the new queries (batch, queries, width)."""
        keys = self.key_norm(keys)
        seen, _ = self.attention(self.query_norm(queries), keys, keys, need_weights=False)
        queries = queries + seen
        return queries + self.mlp(self.norm(queries))


class Resampler(nn.Module):
    """A fixed number of learned queries reads all image tokens; their mean is the vector."""

    def __init__(self, width: int, heads: int, layers: int, latents: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.layers = nn.ModuleList(AttentionLayer(width, heads) for _ in range(layers))

    def forward(self, image: Tensor) -> Tensor:
        """Return (batch, width) for image tokens (batch, places, width)."""
        queries = self.latents.expand(len(image), -1, -1)
        for layer in self.layers:
            queries = layer(queries, image)
        return queries.mean(1)


class CrossAttention(nn.Module):
    """The goal's words look at the image tokens; the mean over the words is the vector."""

    def __init__(self, text_width: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.project = nn.Linear(text_width, width)
        self.layers = nn.ModuleList(AttentionLayer(width, heads) for _ in range(layers))

    def forward(self, words: Words, image: Tensor) -> Tensor:
        """Return (batch, width); ``words`` and ``image`` have the same batch."""
        queries = self.project(words.values)
        for layer in self.layers:
            queries = layer(queries, image)
        weights = words.mask[..., None].to(queries.dtype)
        return (queries * weights).sum(1) / weights.sum(1)


class Fusion(nn.Module):
    """All features of a frame to one vector of ``config.fusion.width``.

    Parameters
    ----------
    config : PolicyConfig
    shapes : dict
        (places, width) of every feature, as ``Encoders.shapes`` gives them.
    """

    def __init__(self, config: PolicyConfig, shapes: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        fusion = config.fusion
        self.normalise = fusion.normalise
        forms = config.features
        self.spatial = nn.ModuleDict(
            {name: nn.Linear(shapes[name][1], fusion.spatial_channels) for name, form in forms.items() if form == "spatial"}
        )
        self.words = next((name for name, form in forms.items() if form == "tokens" and name in TEXT_FEATURES), "")
        images = [name for name, form in forms.items() if form == "tokens" and name != self.words]
        self.projections = nn.ModuleDict({name: nn.Linear(shapes[name][1], fusion.attention_width) for name in images})
        widths = {
            name: shapes[name][0] * fusion.spatial_channels if form == "spatial" else shapes[name][1]
            for name, form in forms.items()
            if form != "tokens"
        }
        self.vectors = list(widths)
        self.resampler: Resampler | None = None
        self.cross_attention: CrossAttention | None = None
        sizes = (fusion.attention_width, fusion.attention_heads, fusion.attention_layers)
        if fusion.kind == "resampler":
            self.resampler = Resampler(*sizes, fusion.latents)
        elif fusion.kind == "cross_attention":
            self.cross_attention = CrossAttention(shapes[self.words][1], *sizes)
        if fusion.kind != "concat":
            widths["attended"] = fusion.attention_width
        layered = fusion.normalise == "layer"
        # The size of a velocity is its meaning: it is never normalised.
        scaled = {name: width for name, width in widths.items() if name != "measured_twist"}
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name, width in scaled.items()} if layered else {})
        self.joined_width = sum(widths.values())
        self.join = nn.Sequential(nn.Linear(self.joined_width, fusion.width), nn.ReLU(), nn.Dropout(fusion.dropout))

    def forward(self, features: dict[str, Tensor | Words]) -> Tensor:
        """Return (frames, width) for features whose batches all are ``frames``."""
        vectors: list[Tensor] = []
        for name in self.vectors:
            value = features[name]
            assert isinstance(value, Tensor)
            vectors.append(self._scaled(name, self.spatial[name](value).flatten(1) if name in self.spatial else value))
        if self.projections:
            image = torch.cat([project(features[name]) for name, project in self.projections.items()], dim=1)
            if self.resampler is not None:
                vectors.append(self._scaled("attended", self.resampler(image)))
            elif self.cross_attention is not None:
                words = features[self.words]
                assert isinstance(words, Words)
                vectors.append(self._scaled("attended", self.cross_attention(words, image)))
        fused: Tensor = self.join(torch.cat(vectors, dim=-1))
        return fused

    def _scaled(self, name: str, vector: Tensor) -> Tensor:
        if name == "measured_twist":
            return vector
        if self.normalise == "layer":
            normed: Tensor = self.norms[name](vector)
            return normed
        return functional.normalize(vector, dim=-1) if self.normalise == "unit" else vector
