"""What a policy network is made of, as plain data: encoders x features x fusion x memory x head.

Promises: reading a configuration needs neither torch nor transformers; an unknown name, a wrong type, a value out of range or a
combination that makes no sense is refused with one line saying what, where and what would be right. ``to_dict`` and
``from_dict`` are inverses, so a saved policy carries its whole configuration. The presets are ``config/policies/*.yaml``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from vla_bt.camera.lens import Picture
from vla_bt.settings import SettingsError, check, config_path, read_yaml, setting

# What each feature is made from, and the forms it comes in: one vector, a vector that keeps where things are, or a sequence.
FEATURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "kosmos_vision": ("kosmos", ("pooled", "spatial", "tokens")),
    "kosmos_image": ("kosmos", ("pooled", "tokens")),
    "kosmos_text": ("kosmos", ("pooled", "tokens")),
    "clip_vision": ("clip", ("pooled", "spatial", "tokens")),
    "clip_image": ("clip", ("pooled",)),
    "clip_text": ("clip", ("pooled", "tokens")),
    "cnn": ("cnn", ("pooled", "spatial", "tokens")),
    "goal": ("goal", ("pooled",)),
    "measured_twist": ("", ("pooled",)),
}
TEXT_FEATURES = ("kosmos_text", "clip_text", "goal")


def required(doc: str, low: float, high: float) -> Any:
    """Declare a setting that has no default."""
    return field(metadata={"doc": doc, "low": low, "high": high, "choices": ()})


@dataclass(frozen=True)
class Tower:
    """Size of one transformer."""

    width: int = required("width of its tokens", 16, 8192)
    layers: int = required("number of layers", 1, 96)
    heads: int = required("attention heads; must divide the width", 1, 128)
    mlp: int = required("width of the feed-forward part", 16, 32768)


@dataclass(frozen=True)
class ImageConfig:
    """The picture: what is asked of the camera, and what it is resized to for every encoder alike."""

    width: int = setting(224, "width the encoders see [px]", 16, 1024)
    height: int = setting(224, "height the encoders see [px]", 16, 1024)
    frame_width: int = setting(1280, "width of the frame asked for [px]", 16, 4096)
    frame_height: int = setting(720, "height of the frame asked for [px]", 16, 4096)
    fovy_deg: float = setting(
        0.0, "vertical field of view every camera's frame is cut or framed to [deg]; 0: left as it is", 0.0, 150.0
    )
    stem: tuple[int, ...] = setting((), "channels of stride-2 convolutions before the transformers; empty: raw pixels", 4, 1024)

    @property
    def picture(self) -> Picture:
        """What is asked of the camera."""
        return Picture(self.frame_width, self.frame_height, self.fovy_deg)


@dataclass(frozen=True)
class KosmosConfig:
    """One ``transformers.Kosmos2Model``."""

    vision: Tower
    text: Tower
    source: str = setting("", "local folder or hub name of the weights; empty: random weights of the sizes given here")
    revision: str = setting("", "commit of the hub name, 40 hexadecimal digits")
    patch: int = setting(14, "side of an image patch [px]", 1, 64)
    latents: int = setting(64, "tokens an image is projected to for the text model", 1, 256)
    vocabulary: int = setting(65037, "words the text model knows; 0: as many as its tokenizer", 0, 1_000_000)
    positions: int = setting(2048, "longest text the model takes [tokens]", 16, 8192)


@dataclass(frozen=True)
class ClipConfig:
    """One ``transformers.CLIPModel``."""

    vision: Tower
    text: Tower
    source: str = setting("", "local folder or hub name of the weights; empty: random weights of the sizes given here")
    revision: str = setting("", "commit of the hub name, 40 hexadecimal digits")
    patch: int = setting(32, "side of an image patch [px]", 1, 64)
    projection: int = setting(512, "width of both projections", 16, 4096)
    vocabulary: int = setting(49408, "words the text model knows; 0: as many as its tokenizer", 0, 1_000_000)
    positions: int = setting(77, "longest text the model takes [tokens]", 16, 1024)
    centre_crop: bool = setting(False, "cut the sides off as CLIP's own processor does (44 % of a 16:9 frame)")


@dataclass(frozen=True)
class CnnConfig:
    """A small convolutional encoder."""

    channels: tuple[int, ...] = setting((32, 64, 96), "channels of its stride-2 convolutions", 4, 1024)
    blocks: int = setting(0, "residual blocks after them: what a place shows is told by its surroundings", 0, 16)


@dataclass(frozen=True)
class GoalConfig:
    """A small recurrent encoder of the goal's tokens, for networks without a language tower."""

    width: int = setting(64, "width of its word vectors and of its result", 8, 1024)
    positions: int = setting(64, "longest text it takes [tokens]", 16, 1024)


@dataclass(frozen=True)
class FusionConfig:
    """How the features become one vector a frame."""

    kind: str = setting("concat", "how token features are read", choices=("concat", "resampler", "cross_attention"))
    width: int = setting(1024, "width of the fused vector", 8, 8192)
    normalise: str = setting("none", "scaling of each feature before they are joined", choices=("none", "unit", "layer"))
    spatial_channels: int = setting(16, "channels kept of each place of a spatial feature (1x1 convolution)", 1, 256)
    attention_width: int = setting(512, "width of the resampler or cross-attention", 16, 4096)
    attention_heads: int = setting(8, "heads of the resampler or cross-attention; must divide its width", 1, 64)
    attention_layers: int = setting(2, "layers of the resampler or cross-attention", 1, 12)
    latents: int = setting(64, "learned queries of the resampler", 1, 256)
    dropout: float = setting(0.0, "share of the fused vector dropped in training", 0.0, 0.9)


@dataclass(frozen=True)
class TemporalConfig:
    """The memory from frame to frame."""

    kind: str = setting("lstm", "recurrent cell", choices=("lstm", "gru", "rnn", "none"))
    layers: int = setting(4, "recurrent layers", 1, 8)
    width: int = setting(1024, "width of the hidden state", 8, 8192)
    reset_gap_s: float = setting(2.0, "a longer time between frames starts a new memory [s]", 0.05, 60.0)


@dataclass(frozen=True)
class HeadConfig:
    """From the memory to a chunk of actions."""

    widths: tuple[int, ...] = setting((512, 256), "hidden layers of the MLP", 1, 8192)
    action_dim: int = setting(2, "2: linear_x, linear_y; 3: angular_z too", 2, 3)
    raw_dim: int = setting(0, "numbers the MLP makes for an action, of which the first action_dim count; 0: no more", 0, 16)
    chunk: int = setting(1, "actions a step proposes", 1, 16)
    period_s: float = setting(0.2, "time between the actions of a chunk [s]", 0.01, 2.0)
    tanh: bool = setting(False, "squash actions into the declared range; without it they are cut there")
    scale: tuple[float, ...] = setting(
        (0.5, 0.5, 1.0), "velocity of an output of 1, the declared range [m/s, m/s, rad/s]", 0.01, 10
    )
    stop: bool = setting(False, "a second output says whether the goal is reached")
    dropout: float = setting(0.0, "share of each hidden layer dropped in training", 0.0, 0.9)


@dataclass(frozen=True)
class PolicyConfig:
    """A whole policy network."""

    name: str = field(metadata={"doc": "name of the preset", "low": None, "high": None, "choices": ()})
    features: dict[str, str] = field(metadata={"doc": "which features are joined, and in which form"})
    about: str = setting("", "one line on what it is")
    untrained_scale: str = setting("full", "size built when no weights are given", choices=("full", "tiny"))
    image: ImageConfig = field(default_factory=ImageConfig)
    kosmos: KosmosConfig | None = None
    clip: ClipConfig | None = None
    cnn: CnnConfig | None = None
    goal: GoalConfig | None = None
    fusion: FusionConfig = field(default_factory=FusionConfig)
    temporal: TemporalConfig = field(default_factory=TemporalConfig)
    head: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that make no network."""
        problem = next(_problems(self), None)
        if problem:
            raise SettingsError(f"policy {self.name if self.name.isprintable() else '?'}: {problem}")

    @property
    def centre_crop(self) -> bool:
        """A second, centre-cropped view of each frame is needed."""
        return self.clip is not None and self.clip.centre_crop

    @property
    def views(self) -> int:
        """Views made of each frame: the whole one, and the crop where CLIP wants it."""
        return 2 if self.centre_crop else 1

    def tiny(self) -> PolicyConfig:
        """Return the same architecture, small enough for a test or a first run on a laptop: random weights, widths / 16."""
        image = self.image
        if not image.stem and (self.kosmos or self.clip):
            image = replace(image, width=112, height=112, frame_width=320, frame_height=180)
        kosmos, clip = self.kosmos, self.clip
        if kosmos:
            kosmos = replace(
                kosmos,
                source="",
                revision="",
                vision=_shrunk(kosmos.vision),
                text=_shrunk(kosmos.text),
                latents=min(kosmos.latents, 8),
                vocabulary=0,
                positions=min(kosmos.positions, 256),
            )
        if clip:
            clip = replace(
                clip,
                source="",
                revision="",
                vision=_shrunk(clip.vision),
                text=_shrunk(clip.text),
                patch=clip.patch if image.stem else 16,
                projection=max(16, clip.projection // 16),
                vocabulary=0,
            )
        fusion, temporal, head = self.fusion, self.temporal, self.head
        return replace(
            self,
            name=f"{self.name.removesuffix('@tiny')}@tiny",
            image=image,
            kosmos=kosmos,
            clip=clip,
            cnn=self.cnn and replace(self.cnn, blocks=min(self.cnn.blocks, 1)),
            goal=self.goal and replace(self.goal, width=min(self.goal.width, 16)),
            fusion=replace(
                fusion,
                width=_sixteenth(fusion.width),
                spatial_channels=min(fusion.spatial_channels, 4),
                attention_width=_sixteenth(fusion.attention_width),
                attention_heads=2,
                latents=min(fusion.latents, 8),
            ),
            temporal=replace(temporal, width=_sixteenth(temporal.width)),
            head=replace(head, widths=tuple(max(8, width // 16) for width in head.widths)),
        )

    def at_size_of(self, other: PolicyConfig) -> PolicyConfig:
        """Return this architecture with another's picture, encoders, motion input and head: what is left is how they are joined.

        Features keep their form, fusion its kind, the memory its kind and layers; ``other`` must have the encoders.
        """
        fusion, theirs = self.fusion, other.fusion
        heads = other.kosmos.vision.heads if other.kosmos else fusion.attention_heads
        return replace(
            self,
            name=f"{self.name}@{other.name}",
            image=other.image,
            kosmos=self.kosmos and other.kosmos,
            clip=self.clip and other.clip,
            features={**self.features, "measured_twist": "pooled"},
            fusion=replace(
                fusion,
                width=theirs.width,
                spatial_channels=theirs.spatial_channels,
                attention_width=other.kosmos.vision.width if other.kosmos else fusion.attention_width,
                attention_heads=heads,
                latents=min(fusion.latents, 16),
            ),
            temporal=replace(self.temporal, width=other.temporal.width, reset_gap_s=other.temporal.reset_gap_s),
            head=replace(other.head, dropout=self.head.dropout),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that :func:`from_dict` reads back."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def _sixteenth(width: int) -> int:
    return max(32, width // 16)


def _shrunk(tower: Tower) -> Tower:
    width, heads = _sixteenth(tower.width), max(2, tower.heads // 8)
    return Tower(width=width, layers=min(tower.layers, 2), heads=heads, mlp=max(32, tower.mlp // 16))


def _problems(config: PolicyConfig) -> Any:
    """Yield what is wrong with the parts taken together."""
    if not config.name.isprintable():
        yield "its name holds what can't be printed"
    if not config.features:
        yield f"no features; choose from {', '.join(FEATURES)}"
    for name, form in config.features.items():
        if name not in FEATURES:
            yield f"unknown feature '{name}'; known: {', '.join(FEATURES)}"
            return
        encoder, forms = FEATURES[name]
        if form not in forms:
            yield f"feature {name} is {form!r}; expected one of {', '.join(forms)}"
        if encoder and getattr(config, encoder) is None:
            yield f"feature {name} needs a section '{encoder}:'"
    for encoder in ("kosmos", "clip", "cnn", "goal"):
        if getattr(config, encoder) is not None and not any(FEATURES[name][0] == encoder for name in config.features):
            yield f"section '{encoder}:' is there but none of its features is used"
    tokens = [name for name, form in config.features.items() if form == "tokens"]
    words = [name for name in tokens if name in TEXT_FEATURES]
    kind = config.fusion.kind
    if kind == "concat" and tokens:
        yield f"feature {tokens[0]} is a sequence, which fusion 'concat' can't read; use pooled or spatial"
    if kind == "resampler" and (words or not tokens):
        yield "fusion 'resampler' reads image tokens only; give one image feature the form 'tokens' and no text feature"
    if kind == "cross_attention" and (len(words) != 1 or len(tokens) < 2):
        yield "fusion 'cross_attention' needs the form 'tokens' for one text feature and at least one image feature"
    if config.fusion.attention_width % config.fusion.attention_heads:
        yield f"fusion.attention_width {config.fusion.attention_width} is no multiple of attention_heads"
    yield from _size_problems(config)


def _size_problems(config: PolicyConfig) -> Any:
    image, head = config.image, config.head
    for name in ("kosmos", "clip"):
        part: KosmosConfig | ClipConfig | None = getattr(config, name)
        if part is None:
            continue
        for label, tower in (("vision", part.vision), ("text", part.text)):
            if tower.width % tower.heads:
                yield f"{name}.{label}: width {tower.width} is no multiple of {tower.heads} heads"
        if image.stem and part.patch != 1:
            yield f"{name}.patch is {part.patch}; with an image.stem it must be 1"
        if not image.stem and (image.width % part.patch or image.height % part.patch):
            yield f"image {image.width}x{image.height} is no multiple of {name}.patch {part.patch}"
        if part.revision and not part.source:
            yield f"{name}.revision without {name}.source"
    for label, stages in (("image.stem", image.stem), ("cnn.channels", config.cnn.channels if config.cnn else ())):
        if 2 ** len(stages) > min(image.width, image.height):
            yield f"{label}: {len(stages)} halvings are too many for image {image.width}x{image.height}"
    if len(head.scale) != 3:
        yield f"head.scale has {len(head.scale)} numbers; expected 3 (linear_x, linear_y, angular_z)"
    if head.raw_dim and head.raw_dim < head.action_dim:
        yield f"head.raw_dim {head.raw_dim} is less than action_dim {head.action_dim}"


T = TypeVar("T")


def _build(kind: type[T], values: Any, where: str) -> T:
    """Build a configuration dataclass from plain values, nested ones included."""
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: expected a mapping, got {values!r}")
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [str(name) for name in values if name not in fields]
    if unknown:
        raise SettingsError(f"{where}: unknown setting '{unknown[0]}'; known: {', '.join(fields)}")
    hints = get_type_hints(kind)
    built: dict[str, Any] = {}
    for name, item in fields.items():
        if name not in values:
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise SettingsError(f"{where}: {name} is missing ({item.metadata.get('doc', 'a section')})")
            continue
        value = values[name]
        parts = [part for part in (hints[name], *get_args(hints[name])) if dataclasses.is_dataclass(part)]
        if parts:
            built[name] = _build(parts[0], value, f"{where}: {name}")  # type: ignore[arg-type]
        elif item.name == "features":
            built[name] = _words(value, f"{where}: {name}")
        elif str(item.type).startswith("tuple["):
            built[name] = _numbers(item, value, where)
        else:
            built[name] = check(item, value, where)
    return kind(**built)


def _words(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise SettingsError(f"{where} is {value!r}; expected lines of 'feature: form'")
    return dict(value)


def _numbers(item: dataclasses.Field[Any], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{where}: {item.name} is {value!r}; expected a list ({item.metadata['doc']})")
    element = dataclasses.field(metadata=item.metadata)
    element.name = item.name
    element.type = str(item.type).removeprefix("tuple[").split(",", 1)[0]
    return tuple(check(element, entry, where) for entry in value)


def from_dict(values: Any, where: str) -> PolicyConfig:
    """Build a configuration from plain values; ``where`` starts the message of a :class:`SettingsError`."""
    return _build(PolicyConfig, values, where)


def load_config(path: Path) -> PolicyConfig:
    """Read a configuration file.

    Raises
    ------
    SettingsError
        With one line, when it is absent, not YAML, or says something that can't be built.
    """
    return from_dict(read_yaml(path), str(path))


def preset_names() -> list[str]:
    """Names of the shipped configurations, sorted."""
    return sorted(path.stem for path in config_path("robot.yaml").parent.joinpath("policies").glob("*.yaml"))


def load_preset(name: str, scale: str = "") -> PolicyConfig:
    """Return a shipped configuration.

    Parameters
    ----------
    name : str
        One of :func:`preset_names`.
    scale : str
        ``full``; ``tiny``; ``small``: at the size, and with the head, of the preset ``small``; or empty for the size the preset
        declares for untrained use.

    Raises
    ------
    SettingsError
        When there is no such preset or scale.
    """
    if name not in preset_names():
        raise SettingsError(f"unknown policy '{name}'; known: expert, {', '.join(preset_names())}")
    if scale not in ("", "full", "tiny", "small"):
        raise SettingsError(f"policy {name}: unknown scale '{scale}'; expected full, small or tiny")
    config = load_config(config_path(f"policies/{name}.yaml"))
    if scale == "small":
        return config.at_size_of(load_config(config_path("policies/small.yaml")))
    return config.tiny() if (scale or config.untrained_scale) == "tiny" else config
