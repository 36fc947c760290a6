"""What a weight file is said to be: recognised by structure, nothing executed, nothing guessed."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vla_bt.policy.config import load_preset, preset_names
from vla_bt.policy.inspection import as_dict, as_text, inspect
from vla_bt.policy.layout import read_layout
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import save_policy
from vla_bt.policy.stored import open_weights
from vla_bt.settings import SettingsError

HYBRID = load_preset("hybrid", "tiny")


def weights_of(path: Path) -> dict[str, Tensor]:
    """The file's state dict, in memory."""
    return {name: tensor.clone() for name, tensor in open_weights(path).tensors.items()}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_training_checkpoint_is_recognised_by_its_structure(training_file: Path) -> None:
    about = as_dict(inspect(training_file))
    assert about["section"] == "model_state_dict"
    parts = {part["name"]: part for part in about["components"]}
    assert set(parts) == {"kosmos text", "kosmos vision", "kosmos image-to-text", "clip text", "clip vision", "clip projections"}
    assert all(part["coverage"] == 1.0 for part in parts.values())
    assert (parts["kosmos vision"]["width"], parts["kosmos vision"]["layers"], parts["kosmos vision"]["patch"]) == (64, 2, 14)
    assert parts["kosmos text"]["width"] == 128
    assert about["recurrent"] == {
        "prefix": "rnn.", "cell": "lstm", "layers": 4, "width": 64, "inputs": 64, "rows": 256, "both_ways": False
    }  # fmt: skip
    assert about["fusion"] == {"inputs": 304, "outputs": 64}
    assert about["head"] == [64, 32, 16, 2]
    assert about["optimizer_bytes"] > 0
    assert about["others"]["epoch"] == "10"
    assert "'lr': 0.0001" in about["others"]["args"]
    assert about["unknown"] == []


def test_the_gates_are_not_the_hidden_width(training_file: Path) -> None:
    text = as_text(inspect(training_file))
    assert "rnn.weight_ih_l0 has 256 rows: 4 gates of 64; the hidden width is 64, not 256" in text
    assert "optimizer state of" in text


def test_without_a_policy_it_can_not_run_and_says_what_is_missing(training_file: Path) -> None:
    finding = inspect(training_file)
    assert not finding.can_run
    assert finding.presets == ["hybrid@tiny"]
    assert any("attention heads, a final tanh" in line and "hybrid@tiny" in line for line in finding.missing)


def test_every_way_to_read_the_joined_width_is_listed() -> None:
    layout = read_layout(meta_state("hybrid"))
    assert layout.fusion == (4864, 1024)
    assert {frozenset(split) for split in layout.splits()} == {
        frozenset({"kosmos_image", "kosmos_text", "clip_vision"}),
        frozenset({"kosmos_vision", "kosmos_text", "clip_vision", "clip_image", "clip_text"}),
        frozenset({"kosmos_vision", "kosmos_image", "clip_vision", "clip_image", "clip_text"}),
    }


def meta_state(name: str) -> dict[str, Tensor]:
    from vla_bt.policy.encoders import tokenizers_for
    from vla_bt.policy.loading import empty_network

    config = load_preset(name, "full")
    return empty_network(config, tokenizers_for(config)).state_dict()


def test_the_real_sizes_of_the_reference() -> None:
    layout = read_layout(meta_state("hybrid"))
    counts = {
        model: sum(len(piece.names) for piece in layout.pieces if piece.kind.startswith(model)) for model in ("kosmos", "clip")
    }
    assert counts == {"kosmos": 885, "clip": 398}
    assert all(piece.coverage == 1.0 for piece in layout.pieces)
    assert layout.feature_widths() == {
        "kosmos_vision": 1024, "kosmos_image": 2048, "kosmos_text": 2048, "clip_vision": 768, "clip_image": 512, "clip_text": 512
    }  # fmt: skip
    assert layout.head == [1024, 512, 256, 2]


def test_with_its_policy_it_can_run_once_the_tokenizers_are_settled(training_file: Path) -> None:
    assert inspect(training_file, HYBRID).can_run
    from dataclasses import replace

    assert HYBRID.kosmos is not None
    larger = replace(HYBRID, kosmos=replace(HYBRID.kosmos, vocabulary=5000))
    finding = inspect(training_file, larger)
    assert any("give its own with --kosmos" in line for line in finding.missing)
    assert any(line.startswith("other shape: encoders.kosmos.text_model: 1") for line in finding.missing)


@pytest.mark.parametrize("name", preset_names())
def test_every_saved_preset_is_inspected_and_can_run(name: str, tmp_path: Path) -> None:
    save_policy(NetworkPolicy.untrained(load_preset(name, "tiny")), tmp_path / name)
    finding = inspect(tmp_path / name)
    assert finding.can_run, finding.missing
    assert finding.memory is not None
    assert finding.config == load_preset(name, "tiny")
    temporal = load_preset(name, "tiny").temporal
    found = finding.layout.recurrent
    assert (found is None) == (temporal.kind == "none")
    if found is not None:
        assert (found.cell, found.layers, found.width) == (temporal.kind, temporal.layers, temporal.width)
    raw = inspect(tmp_path / name / "model.safetensors")
    assert not raw.can_run
    assert f"{name}@tiny" in raw.presets


@pytest.mark.parametrize(("cell", "kind"), [(torch.nn.GRU, "gru"), (torch.nn.RNN, "rnn"), (torch.nn.LSTM, "lstm")])
def test_the_cell_is_told_from_rows_and_width(cell: Any, kind: str) -> None:
    state = {f"x.{name}": tensor for name, tensor in cell(12, 8, 3).state_dict().items()}
    memory = read_layout(state).recurrent
    assert memory is not None
    assert (memory.cell, memory.layers, memory.width, memory.inputs) == (kind, 3, 8, 12)


def test_wrappers_and_two_copies(training_file: Path, tmp_path: Path) -> None:
    weights = weights_of(training_file)
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in weights.items()}
    assert inspect(saved(tmp_path / "wrapped.pth", wrapped), HYBRID).can_run
    kosmos = {f"second_{name}": tensor for name, tensor in weights.items() if name.startswith("kosmos")}
    shared = inspect(saved(tmp_path / "shared.pth", weights | kosmos))
    assert sum("the same weights, stored once" in line for line in shared.warnings) == 3
    other = {name: tensor + 1 for name, tensor in kosmos.items()}
    twice = inspect(saved(tmp_path / "twice.pth", weights | other))
    assert sum("other weights; the first is used" in line for line in twice.warnings) == 3
    assert inspect(tmp_path / "twice.pth", HYBRID).can_run, "the second copy is not needed"


def test_a_standalone_vision_tower_of_newer_names_is_recognised(training_file: Path) -> None:
    weights = weights_of(training_file)
    moved = {name.replace("clip_model.vision_model.", "clip_vision."): tensor for name, tensor in weights.items()}
    names = read_layout(moved).names
    assert names["clip_vision.pre_layrnorm.weight"] == "encoders.clip.vision_model.pre_layrnorm.weight"


def test_half_a_checkpoint_is_told_part_by_part(training_file: Path, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in weights_of(training_file).items() if "layers.1." not in name}
    weights |= {"mystery.weight": torch.zeros(3, 3)}
    finding = inspect(saved(tmp_path / "half.pth", weights), HYBRID)
    assert any(line.startswith("missing: encoders.kosmos.text_model: 20") for line in finding.missing)
    assert any(line.startswith("unexpected: mystery: 1 (mystery.weight)") for line in finding.missing)


class Planted:
    """An object whose unpickling runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_planted_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was_here"
    pickled = pickle.dumps(Planted(mark))
    pickle.loads(pickled)  # noqa: S301 - proves that the plant works
    assert mark.exists()
    mark.unlink()
    path = saved(tmp_path / "evil.pth", {"model_state_dict": {"a": torch.zeros(2)}, "args": Planted(mark)})
    with pytest.raises(SettingsError, match="which is code and not weights; refused without running it") as caught:
        open_weights(path)
    assert "\n" not in str(caught.value)
    (tmp_path / "old.pth").write_bytes(pickled)
    with pytest.raises(SettingsError):
        open_weights(tmp_path / "old.pth")
    assert not mark.exists()


def test_only_arguments_and_plain_numbers_pass_and_only_while_reading(tmp_path: Path) -> None:
    others = {"args": argparse.Namespace(lr=0.5), "val_mae": np.float64(0.25), "best": np.mean(np.ones(3, np.float32))}
    path = saved(tmp_path / "args.pth", {"model": {"a.weight": torch.zeros(2, 2)}, **others})
    assert open_weights(path).others == {"args": "{'lr': 0.5}", "val_mae": "0.25", "best": "1.0"}
    nested = saved(tmp_path / "nested.pth", {"model": {"a.weight": torch.zeros(2)}, "args": argparse.Namespace(x=Path("/"))})
    with pytest.raises(SettingsError, match=r"holds pathlib\S*PosixPath, which is code"):
        open_weights(nested)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_what_is_no_checkpoint_is_one_line(training_file: Path, tmp_path: Path) -> None:
    whole = training_file.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    for share in (0.001, 0.01, 0.1, 0.9, 0.999):
        (tmp_path / f"cut{share}.pth").write_bytes(whole[: int(len(whole) * share)])
    (tmp_path / "text.pth").write_text("hello, I am a text")
    (tmp_path / "short.safetensors").write_bytes((100).to_bytes(8, "little") + b"{")
    (tmp_path / "empty").mkdir()
    saved(tmp_path / "numbers.pth", {"epoch": 3})
    for name, words in (
        ("cut.pth", "cut short or damaged"),
        *((f"cut{share}.pth", "cut short or damaged") for share in (0.001, 0.01, 0.1, 0.9, 0.999)),
        ("text.pth", "neither a torch checkpoint"),
        ("short.safetensors", "no weights can be read there"),
        ("empty", "holds no .safetensors file"),
        ("numbers.pth", "holds no weights"),
        ("nowhere.pth", "No such file"),
    ):
        with pytest.raises(SettingsError, match=words) as caught:
            inspect(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
