"""What a weight file or folder is, whether it can drive, and if not, what is missing for that.

Promises: reads names and shapes only, so that 7 GB take seconds; says what it saw, warns where numbers are often misread, lists
every reading where there are several, and never fills a gap with a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vla_bt.policy.config import PolicyConfig, Tower, load_preset, preset_names
from vla_bt.policy.encoders import text_encoders, tokenizers_for
from vla_bt.policy.layout import GATES, Layout, read_layout
from vla_bt.policy.loading import compare, empty_network
from vla_bt.policy.plan import Plan, dtype_of, plan
from vla_bt.policy.saved import WEIGHTS, is_policy_folder, read_card
from vla_bt.policy.shrinking import Shrink
from vla_bt.policy.stored import Stored, open_weights
from vla_bt.policy.tokenizer import GoalTokenizer

_ATTENDING = ("resampler", "cross_attention")


@dataclass
class Finding:
    """The result of an inspection.

    Attributes
    ----------
    missing : list of str
        What a run lacks, one line each; empty when it can drive.
    warnings : list of str
        What is easily misread, or there for nothing.
    presets : list of str
        Shipped configurations whose sizes are these.
    memory : Plan or None
        What loading it as stored takes, when it is known what it is.
    """

    stored: Stored
    layout: Layout
    config: PolicyConfig | None = None
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    presets: list[str] = field(default_factory=list)
    memory: Plan | None = None

    @property
    def can_run(self) -> bool:
        """Nothing is missing."""
        return not self.missing


def inspect(path: Path, config: PolicyConfig | None = None, shipped_tokenizers: bool = False) -> Finding:
    """Look at a weight file, a policy's folder or a model folder.

    Parameters
    ----------
    config : PolicyConfig, optional
        What a weight file is said to be; a policy's folder knows it itself.
    shipped_tokenizers : bool
        Accept the shipped tokenizers for a text model that knows more words than they do.

    Raises
    ------
    SettingsError
        When the file can't be read.
    """
    exact: dict[str, dict[str, Any]] | None = None
    tokenizers: dict[str, GoalTokenizer] | None = None
    weights = path
    if is_policy_folder(path):
        card = read_card(path)
        config, exact, tokenizers, weights = card.config, card.models, card.tokenizers, path / WEIGHTS
    stored = open_weights(weights)
    finding = Finding(stored, read_layout(stored.tensors), config)
    _warn(finding)
    if config is None:
        _say_what_it_may_be(finding)
        return finding
    folder = tokenizers is not None
    tokenizers = tokenizers_for(config) if tokenizers is None else tokenizers
    network = empty_network(config, tokenizers, exact)
    fit = compare(stored, network, finding.layout)
    finding.missing += fit.report()
    if not folder and not shipped_tokenizers:
        finding.missing += tokenizers_missing(config, tokenizers)
    if not folder and len(finding.layout.splits()) > 1:
        finding.warnings.append(
            f"features are joined in the order of {config.name}: {', '.join(config.features)}; no weight tells it"
        )
    if not fit.report():
        finding.memory = plan(config, Shrink(), dtype_of(weights), exact)
    return finding


def tokenizers_missing(config: PolicyConfig, tokenizers: dict[str, GoalTokenizer]) -> list[str]:
    """Say which text models know more words than the shipped tokenizer that would number them."""
    lines = []
    for name in text_encoders(config):
        part = getattr(config, name)
        words = getattr(part, "vocabulary", 0)
        if not getattr(part, "source", "") and words > tokenizers[name].vocabulary:
            lines.append(
                f"tokenizer: {name}'s text model knows {words} words, the shipped tokenizer {tokenizers[name].vocabulary}; "
                f"give its own with --{name} FOLDER"
            )
    return lines


def _warn(finding: Finding) -> None:
    layout, stored = finding.layout, finding.stored
    memory = layout.recurrent
    if memory is not None and memory.cell and GATES[memory.cell] > 1:
        finding.warnings.append(
            f"{memory.prefix}weight_ih_l0 has {memory.rows} rows: {GATES[memory.cell]} gates of {memory.width}; "
            f"the hidden width is {memory.width}, not {memory.rows}"
        )
    if memory is not None and not memory.cell:
        finding.warnings.append(f"{memory.prefix}: {memory.rows} rows for a width of {memory.width} are no LSTM, GRU or RNN")
    if memory is not None and memory.both_ways:
        finding.warnings.append(f"{memory.prefix}: reads both ways in time, which can't drive")
    finding.warnings += [f"a second recurrent memory under {prefix}" for prefix in layout.other_recurrents]
    for piece in layout.pieces:
        if piece.copy:
            first = next(other for other in layout.pieces if other.kind == piece.kind and not other.copy)
            finding.warnings.append(
                f"{piece.kind} is there again under {piece.prefix}: {_relation(stored.tensors, first.names, piece.names)}"
            )
    splits = layout.splits()
    if len(splits) > 1:
        readings = "; ".join(" + ".join(split) for split in splits)
        width = layout.fusion[0] if layout.fusion else 0
        finding.warnings.append(f"{width} joined inputs can be read in {len(splits)} ways: {readings}")
    if stored.optimizer_bytes:
        finding.warnings.append(
            f"optimizer state of {stored.optimizer_bytes / 1e6:.1f} MB, of no use to a run; 'vla-bt policy slim' drops it"
        )


def _relation(tensors: dict[str, Tensor], first: dict[str, str], second: dict[str, str]) -> str:
    """Compare two copies of a part by where they lie, and by value where that is cheap."""
    theirs = {ours: tensors[name] for name, ours in first.items() if name in tensors}
    mine = {ours: tensors[name] for name, ours in second.items() if name in tensors}
    if all(ours in theirs and tensor.data_ptr() == theirs[ours].data_ptr() for ours, tensor in mine.items()):
        return "the same weights, stored once"
    small = [ours for ours, tensor in mine.items() if tensor.numel() < 1 << 16 and ours in theirs]
    equal = all(mine[ours].shape == theirs[ours].shape and bool((mine[ours] == theirs[ours]).all()) for ours in small)
    return "stored twice, equal as far as its small weights tell" if equal else "other weights; the first is used"


def _say_what_it_may_be(finding: Finding) -> None:
    """Without a configuration: name the presets of these sizes, and everything no weight can tell."""
    layout = finding.layout
    for part, there in (("recurrent memory", layout.recurrent), ("head", layout.head[1:])):
        if not there:
            finding.missing.append(f"no {part} recognised: these are not a whole policy's weights")
    if layout.unknown:
        names = ", ".join(layout.unknown[:3])
        finding.missing.append(
            f"{len(layout.unknown)} weights belong to nothing known: {names}{', ...' * (len(layout.unknown) > 3)}"
        )
    finding.presets = [name for name in preset_names() if has_sizes(load_preset(name, "full"), layout)]
    finding.presets += [f"{name}@tiny" for name in preset_names() if has_sizes(load_preset(name, "tiny"), layout)]
    last = f"the last layer's {layout.head[-1]} outputs" if layout.head[1:] else "outputs"
    choose = (
        f"--policy with one of: {', '.join(finding.presets)}"
        if finding.presets
        else "--policy FILE.yaml (no shipped one has these sizes)"
    )
    finding.missing.append(
        f"attention heads, a final tanh, how {last} divide into actions, the order of features: say it by {choose}"
    )


def has_sizes(config: PolicyConfig, layout: Layout) -> bool:
    """Tell whether a configuration has the sizes that were read; what could not be read counts as fitting."""
    sizes = {piece.kind: piece.sizes for piece in layout.pieces if not piece.copy}
    for name in ("kosmos", "clip"):
        part = getattr(config, name)
        for tower in ("vision", "text"):
            found = sizes.get(f"{name} {tower}")
            if (part is None) != (found is None):
                return False
            if part is not None and found is not None and not _is_size(getattr(part, tower), found):
                return False
    for name in ("cnn", "goal"):
        if (getattr(config, name) is None) == any(ours.startswith(f"encoders.{name}.") for ours in layout.names.values()):
            return False
    memory, temporal = layout.recurrent, config.temporal
    found_memory = ("none", temporal.layers, 0) if memory is None else (memory.cell, memory.layers, memory.width)
    if found_memory != (temporal.kind, temporal.layers, 0 if temporal.kind == "none" else temporal.width):
        return False
    outputs = config.head.chunk * (config.head.raw_dim or config.head.action_dim)
    inputs = config.fusion.width if temporal.kind == "none" else temporal.width
    if layout.head != [inputs, *config.head.widths, outputs]:
        return False
    attends = {kind: any(name.startswith(f"fusion.{kind}.") for name in layout.names.values()) for kind in _ATTENDING}
    if attends != {kind: config.fusion.kind == kind for kind in _ATTENDING}:
        return False
    plain = set(config.features) <= set(layout.feature_widths()) and set(config.features.values()) == {"pooled"}
    return not plain or sorted(config.features) in map(sorted, layout.splits())


def _is_size(tower: Tower, found: dict[str, int]) -> bool:
    return (tower.width, tower.layers, tower.mlp) == (found["width"], found["layers"], found["mlp"])


def as_dict(finding: Finding) -> dict[str, Any]:
    """Return the finding as plain values."""
    stored, layout = finding.stored, finding.layout
    tensors = stored.tensors.values()
    memory = layout.recurrent
    return {
        "path": str(stored.path),
        "kind": stored.kind,
        "section": stored.section,
        "weights": len(stored.tensors),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}),
        "components": [
            {"name": piece.kind, "prefix": piece.prefix, "weights": len(piece.names), "coverage": round(piece.coverage, 4)}
            | {"copy": piece.copy, **piece.sizes}
            for piece in layout.pieces
        ],
        "recurrent": None if memory is None else vars(memory),
        "fusion": None if layout.fusion is None else {"inputs": layout.fusion[0], "outputs": layout.fusion[1]},
        "splits": [list(split) for split in layout.splits()],
        "head": layout.head,
        "needless": layout.needless,
        "unknown": layout.unknown,
        "optimizer_bytes": stored.optimizer_bytes,
        "others": stored.others,
        "bases": [{key: base[key] for key in ("prefix", "source", "revision")} for base in stored.bases],
        "policy": None if finding.config is None else finding.config.name,
        "presets": finding.presets,
        "warnings": finding.warnings,
        "missing": finding.missing,
        "memory_bytes": None if finding.memory is None else finding.memory.needed_bytes,
        "can_run": finding.can_run,
    }


def as_text(finding: Finding) -> str:
    """Return the finding as a person reads it."""
    about = as_dict(finding)
    where = f", under '{about['section']}'" if about["section"] else ""
    lines = [
        f"{about['path']}: {about['kind']}{where}, {about['weights']} weights, {about['parameters'] / 1e6:.1f} M numbers, "
        f"{about['bytes'] / 1e9:.2f} GB, {', '.join(about['dtypes'])}"
    ]
    for piece in finding.layout.pieces:
        sizes = ", ".join(f"{name} {value}" for name, value in piece.sizes.items())
        again = " (again)" if piece.copy else ""
        lines.append(f"  {piece.kind + again:<22} {piece.coverage:>7.1%} of {piece.expected:<4} {sizes}  [{piece.prefix}*]")
    memory = finding.layout.recurrent
    if finding.layout.fusion:
        lines.append(f"  {'fusion':<22} {finding.layout.fusion[0]} -> {finding.layout.fusion[1]}")
    if memory is not None:
        cell = f"{memory.layers} x {memory.cell or 'unknown cell'} of {memory.width}"
        lines.append(f"  {'memory':<22} {cell}, input {memory.inputs}  [{memory.prefix}*]")
    if finding.layout.head[1:]:
        lines.append(f"  {'head':<22} {'-'.join(map(str, finding.layout.head))}")
    lines += [f"  {name:<22} {text}" for name, text in finding.stored.others.items()]
    if finding.memory is not None:
        lines.append(f"  {'memory needed':<22} {finding.memory.needed_bytes / 1e9:.2f} GB as stored")
    lines += [f"note: {line}" for line in finding.warnings]
    lines += [f"missing for a run: {line}" for line in finding.missing]
    lines.append("can run" if finding.can_run else "can't run")
    return "\n".join(lines)
