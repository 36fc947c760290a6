"""What a set of named weights is: which models, which recurrent memory, which layers between, read from names' ends and shapes.

Promises: needs no configuration and runs nothing. Widths are read from the tensors themselves: the hidden width of a recurrent
layer is the second dimension of ``weight_hh_l0``, never the first of ``weight_ih_l0``, which counts every gate. What can't be
read (attention heads, a final tanh, how outputs divide into actions, which features were joined) is listed, not guessed.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

OWN = ("encoders.", "fusion.", "memory.", "head.")
_WRAPPERS = ("module.", "_orig_mod.")
_RECURRENT = re.compile(r"^(.*?)(weight|bias)_(ih|hh)_l(\d+)(_reverse)?$")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
GATES = {name: gates for gates, name in CELLS.items()}
# The parts of the two models: their names within the model, and the name every one of them must have.
_PARTS = {
    "kosmos text": ("text_model.model.", "embed_tokens.weight"),
    "kosmos vision": ("vision_model.model.", "embeddings.class_embedding"),
    "kosmos image-to-text": ("image_to_text_projection.", "latent_query"),
    "clip text": ("text_model.", "embeddings.token_embedding.weight"),
    "clip vision": ("vision_model.", "embeddings.class_embedding"),
    "clip projections": ("", "visual_projection.weight"),
}
# Weights older versions stored and nobody needs: numbers 0, 1, 2, ..., and the text model's output layer.
_NEEDLESS = re.compile(r"(embeddings\.position_ids|embed_positions\.weights|lm_head\.weight)$")


@dataclass
class Piece:
    """A part of a model found under a prefix.

    ``names`` maps a stored name to its name in our network; ``expected`` counts what a whole one has.
    """

    kind: str
    prefix: str
    names: dict[str, str]
    expected: int
    sizes: dict[str, int]
    copy: int = 0  # 1, 2, ... when the same part was already found under another prefix

    @property
    def coverage(self) -> float:
        """Share of its weights that are there."""
        return len(self.names) / self.expected if self.expected else 0.0


@dataclass(frozen=True)
class Recurrent:
    """A recurrent memory: cell ``lstm``, ``gru``, ``rnn``, or empty when the shapes are none of them."""

    prefix: str
    cell: str
    layers: int
    width: int
    inputs: int
    rows: int
    both_ways: bool


@dataclass
class Layout:
    """Everything that was recognised. ``names`` maps stored names to those of our network."""

    names: dict[str, str] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    recurrent: Recurrent | None = None
    other_recurrents: list[str] = field(default_factory=list)
    fusion: tuple[int, int] | None = None  # inputs, outputs
    head: list[int] = field(default_factory=list)  # widths from the memory's to the last layer's
    needless: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    own: bool = False  # the names are our network's

    def feature_widths(self) -> dict[str, int]:
        """Return the width of each pooled feature that the models found can yield."""
        sizes = {piece.kind: piece.sizes for piece in self.pieces if not piece.copy}
        found: dict[str, int] = {}
        if "kosmos vision" in sizes:
            found["kosmos_vision"] = sizes["kosmos vision"]["width"]
        if "kosmos image-to-text" in sizes:
            found["kosmos_image"] = sizes["kosmos image-to-text"]["width"]
        if "kosmos text" in sizes:
            found["kosmos_text"] = sizes["kosmos text"]["width"]
        if "clip vision" in sizes:
            found["clip_vision"] = sizes["clip vision"]["width"]
        if "clip projections" in sizes:
            found["clip_image"] = found["clip_text"] = sizes["clip projections"]["width"]
        return found

    def choices_of(self, width: int) -> list[tuple[str, ...]]:
        """Return every choice of pooled features whose widths add up to ``width``."""
        widths = self.feature_widths()
        counts = range(1, len(widths) + 1)
        choices = itertools.chain.from_iterable(itertools.combinations(widths, count) for count in counts)
        return [choice for choice in choices if sum(widths[name] for name in choice) == width]

    def splits(self) -> list[tuple[str, ...]]:
        """Return every choice of features that what the fusion (or the memory itself) takes can be made of."""
        return self.choices_of(self.fusion[0] if self.fusion else self.recurrent.inputs if self.recurrent else 0)


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key: numbers by value, so that layer 10 follows layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def read_layout(tensors: Mapping[str, Tensor]) -> Layout:
    """Recognise what is there.

    Parameters
    ----------
    tensors : mapping
        Stored weights; only their names and shapes are looked at.
    """
    layout = Layout()
    stored = _unwrapped(tensors)
    shapes = {stored[name]: tensor.shape for name, tensor in sorted(tensors.items(), key=lambda item: natural(item[0]))}
    layout.own = any(name.startswith("encoders.") for name in shapes) and all(name.startswith(OWN) for name in shapes)
    left = dict(shapes)
    for piece in _pieces(shapes):
        layout.pieces.append(piece)
        for name in piece.names:
            left.pop(name, None)
    for name in [name for name in left if _NEEDLESS.search(name)]:
        layout.needless.append(name)
        del left[name]
    found = {name: ours for piece in layout.pieces if not piece.copy for name, ours in piece.names.items()}
    _read_recurrent(layout, left, found)
    if layout.own:
        _read_own(layout, shapes)
        found, left = {name: name for name in shapes}, {}
    else:
        _read_linears(layout, left, found)
    layout.unknown = list(left)
    layout.names = {name: found[stored[name]] for name in tensors if stored[name] in found}
    return layout


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return stored name -> the name without what DataParallel and compile put before every one."""
    found = {name: name for name in names}
    while found and (wrapper := next((wrapper for wrapper in _WRAPPERS if _all_start(found.values(), wrapper)), "")):
        found = {name: inner.removeprefix(wrapper) for name, inner in found.items()}
    return found


def _all_start(names: Iterable[str], start: str) -> bool:
    return all(name.startswith(start) for name in names)


def _pieces(shapes: Mapping[str, torch.Size]) -> Iterator[Piece]:
    """Yield the parts of Kosmos-2 and CLIP, whatever they are called by."""
    seen: dict[str, int] = {}
    for kind, (inner, mark) in _PARTS.items():
        model = kind.partition(" ")[0]
        for name in shapes:
            if not (name == mark or name.endswith("." + mark)):
                continue
            prefix = name.removesuffix(mark)
            if mark == "embeddings.class_embedding":
                is_kosmos = prefix.endswith("vision_model.model.") or "kosmos" in prefix
                if is_kosmos != (model == "kosmos"):
                    continue
            if kind == "clip projections":
                names = {prefix + part: part for part in ("visual_projection.weight", "text_projection.weight", "logit_scale")}
                names = {there: part for there, part in names.items() if there in shapes}
                expected, sizes = 3, {"width": shapes[name][0]}
            else:
                layers = _layers(shapes, prefix)
                suffixes = _suffixes(kind, layers)
                names = {prefix + suffix: inner + suffix for suffix in suffixes if prefix + suffix in shapes}
                expected, sizes = len(suffixes), _sizes(kind, shapes, prefix, layers)
            ours = {there: f"encoders.{model}.{part}" for there, part in names.items()}
            yield Piece(kind, prefix, ours, expected, sizes, copy=seen.get(kind, 0))
            seen[kind] = seen.get(kind, 0) + 1


def _layers(shapes: Mapping[str, torch.Size], prefix: str) -> int:
    numbers = [int(match[1]) for name in shapes if name.startswith(prefix) and (match := _LAYER.search(name, len(prefix) - 1))]
    return max(numbers, default=-1) + 1


def _suffixes(kind: str, layers: int) -> list[str]:
    """Return the names within a part that transformers' own class has, with so many layers."""
    found: list[str] = []
    for name in _names_of(kind.partition(" ")[0]):
        inner = _PARTS[kind][0]
        if name.startswith(inner):
            suffix = name.removeprefix(inner)
            found += (
                [re.sub(r"layers\.0\.", f"layers.{index}.", suffix) for index in range(layers)]
                if "layers.0." in suffix
                else [suffix]
            )
    return found


@functools.cache
def _names_of(model: str) -> tuple[str, ...]:
    """Return the weights of a Kosmos-2 or CLIP model of one layer."""
    from transformers import CLIPConfig, CLIPModel, Kosmos2Config, Kosmos2Model

    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    with torch.device("meta"):
        if model == "kosmos":
            text = {"embed_dim": 8, "layers": 1, "attention_heads": 1, "ffn_dim": 8}
            return tuple(Kosmos2Model(Kosmos2Config(text_config=text, vision_config=small)).state_dict())
        return tuple(CLIPModel(CLIPConfig(text_config=small, vision_config=small, projection_dim=8)).state_dict())


def _sizes(kind: str, shapes: Mapping[str, torch.Size], prefix: str, layers: int) -> dict[str, int]:
    def size(name: str, axis: int) -> int:
        shape = shapes.get(prefix + name, torch.Size())
        return int(shape[axis]) if len(shape) > axis else 0

    if kind == "kosmos text":
        words = {"width": size("embed_tokens.weight", 1), "words": size("embed_tokens.weight", 0)}
        return words | {"layers": layers, "mlp": size("layers.0.ffn.fc1.weight", 0)}
    if kind == "kosmos image-to-text":
        return {"width": size("latent_query", 1), "latents": size("latent_query", 0)}
    if kind == "clip text":
        words = {"width": size("embeddings.token_embedding.weight", 1), "words": size("embeddings.token_embedding.weight", 0)}
        return words | {"layers": layers, "mlp": size("encoder.layers.0.mlp.fc1.weight", 0)}
    picture = {"width": size("embeddings.class_embedding", 0), "patch": size("embeddings.patch_embedding.weight", 2)}
    return picture | {"layers": layers, "mlp": size("encoder.layers.0.mlp.fc1.weight", 0)}


def _read_recurrent(layout: Layout, left: dict[str, torch.Size], found: dict[str, str]) -> None:
    groups: dict[str, list[re.Match[str]]] = {}
    for name in left:
        if (match := _RECURRENT.match(name)) is not None:
            groups.setdefault(match[1], []).append(match)
    memories = {
        prefix: matches
        for prefix, matches in groups.items()
        if f"{prefix}weight_hh_l0" in left and f"{prefix}weight_ih_l0" in left and "goal." not in prefix
    }
    layout.other_recurrents = list(memories)[1:]
    for prefix, matches in list(memories.items())[:1]:
        (rows, width), inputs = left[f"{prefix}weight_hh_l0"], left[f"{prefix}weight_ih_l0"][1]
        cell = CELLS.get(rows // width, "") if rows % width == 0 else ""
        layers = 1 + max(int(match[4]) for match in matches)
        both = any(match[5] for match in matches)
        layout.recurrent = Recurrent(prefix, cell, layers, int(width), int(inputs), int(rows), both)
        for match in matches:
            name = match.string
            found[name] = f"memory.cell.{name.removeprefix(prefix)}"
            del left[name]


def _read_own(layout: Layout, shapes: Mapping[str, torch.Size]) -> None:
    """Read the widths of our own network, whose names are known."""
    if (join := shapes.get("fusion.join.0.weight")) is not None:
        layout.fusion = (int(join[1]), int(join[0]))
    body = [shape for name, shape in shapes.items() if name.startswith("head.body.") and len(shape) == 2]
    if (action := shapes.get("head.action.weight")) is not None:
        chain = [*body, action]
        layout.head = [int(chain[0][1]), *(int(shape[0]) for shape in chain)]


def _read_linears(layout: Layout, left: dict[str, torch.Size], found: dict[str, str]) -> None:
    """Find the layer that joins the features, and the chain of layers to the action."""
    linears = {name.removesuffix("weight"): shape for name, shape in left.items() if name.endswith("weight") and len(shape) == 2}
    memory = layout.recurrent
    taken: list[tuple[str, str]] = []
    for name, (outputs, inputs) in linears.items():
        # A layer of the head may have the same outputs; it takes what the memory gives.
        joins = outputs == memory.inputs and inputs != memory.width if memory else bool(layout.choices_of(inputs))
        if joins:
            layout.fusion = (int(inputs), int(outputs))
            taken.append((name, "fusion.join.0."))
            del linears[name]
            break
    width = memory.width if memory else layout.fusion[1] if layout.fusion else 0
    chain: list[str] = []
    layout.head = [width] if width else []
    while layout.head:
        follows = (
            name
            for name, shape in linears.items()
            if shape[1] == layout.head[-1] and name not in chain and (not chain or _family(name) == _family(chain[0]))
        )
        if not (name := next(follows, "")):
            break
        chain.append(name)
        layout.head.append(int(linears[name][0]))
    taken += [(name, f"head.body.{3 * index}.") for index, name in enumerate(chain[:-1])]
    taken += [(name, "head.action.") for name in chain[-1:]]
    for theirs, ours in taken:
        for last in ("weight", "bias"):
            if left.pop(theirs + last, None) is not None:
                found[theirs + last] = ours + last


def _family(name: str) -> str:
    """Return what a module and those beside it begin with."""
    return name.partition(".")[0]
