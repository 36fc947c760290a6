"""Weights into networks, and into smaller files: whole or refused, mapped and not copied, the same to the last bit."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_bt.cli.main import main
from vla_bt.policy import writing
from vla_bt.policy.compare import pictures
from vla_bt.policy.config import PolicyConfig, load_preset
from vla_bt.policy.convert import convert, slim
from vla_bt.policy.encoders import tokenizers_for
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.loading import load_weights
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.policy.stored import open_weights
from vla_bt.settings import SettingsError
from vla_bt.words import Twist

HYBRID = load_preset("hybrid", "tiny")
GOAL = "go around the box on the left to the cup"


def drive(policy: NetworkPolicy) -> NDArray[np.float32]:
    policy.reset(GOAL)
    frames = pictures(3, policy.info.frame_height, policy.info.frame_width)
    return np.stack([policy.step(frame, 0.2 * index, Twist(0.1)).raw_actions for index, frame in enumerate(frames)])


def weights_of(path: Path) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in open_weights(path).tensors.items()}


def built(path: Path, config: PolicyConfig = HYBRID) -> NetworkPolicy:
    """The reference: the network built the ordinary way, each weight copied into it by name."""
    network = PolicyNetwork(config, tokenizers_for(config))
    theirs = {"kosmos_model.": "encoders.kosmos.", "clip_model.": "encoders.clip.", "feature_fusion.": "fusion.join.0."}
    theirs |= {"rnn.": "memory.cell.", "actions.mlp.0.": "head.body.0.", "actions.mlp.2.": "head.body.3."}
    theirs |= {"actions.mlp.4.": "head.action."}
    state = {}
    for name, tensor in weights_of(path).items():
        before = next(prefix for prefix in theirs if name.startswith(prefix))
        state[theirs[before] + name.removeprefix(before)] = tensor
    network.load_state_dict(state)
    return NetworkPolicy(network, tokenizers_for(config), "reference")


def test_a_training_file_drives_as_the_network_it_came_from(training_file: Path) -> None:
    policy = load_weights(training_file, HYBRID)
    np.testing.assert_array_equal(drive(policy), drive(built(training_file)))
    assert policy.info.label == training_file.name
    assert len(policy.info.weights_hash) == 64
    buffers = dict(policy.network.named_buffers())
    for name, buffer in built(training_file).network.named_buffers():
        torch.testing.assert_close(buffers[name], buffer, rtol=0, atol=0)


def test_what_does_not_fit_is_refused_part_by_part_unless_told_otherwise(training_file: Path, tmp_path: Path) -> None:
    weights = weights_of(training_file)
    cut = {name: tensor for name, tensor in weights.items() if not name.startswith("rnn.")}
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(SettingsError, match=r"missing: memory: 16 \(memory\.cell\.weight_ih_l0") as caught:
        load_weights(tmp_path / "cut.pth", HYBRID)
    assert "\n" not in str(caught.value)
    policy = load_weights(tmp_path / "cut.pth", HYBRID, allow_missing=True)
    assert "untrained" in policy.info.label
    assert "memory" in policy.info.label
    assert np.isfinite(drive(policy)).all()
    np.testing.assert_array_equal(drive(policy), drive(load_weights(tmp_path / "cut.pth", HYBRID, allow_missing=True)))
    other = replace(HYBRID, temporal=replace(HYBRID.temporal, width=48))
    with pytest.raises(SettingsError, match="other shape: memory: 16"):
        load_weights(training_file, other)
    with pytest.raises(SettingsError, match="missing: fusion: "):
        load_weights(training_file, load_preset("multimodal", "tiny"))
    torch.save({"x": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(SettingsError, match="none of its weights belongs"):
        load_weights(tmp_path / "x.pth", HYBRID, allow_missing=True)


def test_encoders_a_file_leaves_out_come_from_the_models_named(tiny_folders: Path, tmp_path: Path) -> None:
    policy = NetworkPolicy.untrained(from_folders(tiny_folders))
    heads = {name: tensor for name, tensor in policy.network.state_dict().items() if not name.startswith("encoders.")}
    mapping = {"fusion.join.0.": "join.", "memory.cell.": "lstm.", "head.body.0.": "mlp.0.", "head.body.3.": "mlp.3."}
    mapping |= {"head.action.": "mlp.6."}
    theirs = {
        after + name.removeprefix(before): tensor
        for name, tensor in heads.items()
        for before, after in mapping.items()
        if name.startswith(before)
    }
    assert len(theirs) == len(heads)
    torch.save(theirs, tmp_path / "heads.pth")
    loaded = load_weights(tmp_path / "heads.pth", from_folders(tiny_folders))
    np.testing.assert_array_equal(drive(loaded), drive(policy))


def from_folders(folders: Path) -> PolicyConfig:
    config = load_preset("hybrid", "tiny")
    assert config.kosmos is not None
    assert config.clip is not None
    kosmos = replace(config.kosmos, source=str(folders / "kosmos"), patch=14, positions=128)
    clip = replace(config.clip, source=str(folders / "clip"), patch=28)
    return replace(config, image=replace(config.image, width=56, height=56), kosmos=kosmos, clip=clip)


def private_mb() -> float:
    return (psutil.Process().memory_full_info().uss - mapped_clean()) / 1e6


def mapped_clean() -> int:
    return sum(area.private_clean for area in psutil.Process().memory_maps() if area.path.startswith("/"))


def test_loading_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    config = replace(load_preset("small-cnn", "full"), temporal=load_preset("hybrid", "full").temporal)
    config = replace(config, fusion=replace(config.fusion, width=1024), temporal=replace(config.temporal, width=1024))
    save_policy(NetworkPolicy.untrained(config), tmp_path / "wide")
    before = private_mb()
    policy = load_policy(tmp_path / "wide")
    drive(policy)
    held = sum(parameter.nbytes for parameter in policy.network.parameters()) / 1e6
    assert held > 130
    assert private_mb() - before < 0.25 * held
    assert all(parameter.data_ptr() % 64 == 0 for parameter in policy.network.parameters())


def test_a_policy_folder_is_loaded_as_it_was_and_can_be_trained_on(tmp_path: Path) -> None:
    policy = NetworkPolicy.untrained(HYBRID)
    save_policy(policy, tmp_path / "policy")
    before = (tmp_path / "policy" / "model.safetensors").read_bytes()
    loaded = load_policy(tmp_path / "policy")
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())
    with torch.no_grad():
        for parameter in loaded.network.parameters():
            parameter.add_(1.0)
    assert (tmp_path / "policy" / "model.safetensors").read_bytes() == before, "the file is mapped privately"
    np.testing.assert_array_equal(drive(load_policy(tmp_path / "policy")), drive(policy))


def test_slim_drops_the_optimizer_and_what_the_base_has_and_stays_the_same_to_the_bit(
    tiny_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = from_folders(tiny_folders)
    policy = NetworkPolicy.untrained(config)
    weights = dict(policy.network.state_dict())
    changed = "encoders.clip.vision_model.post_layernorm.weight"
    weights[changed] = weights[changed] + 0.5
    renamed = {name.replace("encoders.", ""): tensor for name, tensor in weights.items()}
    torch.save({"model": renamed, "optimizer_state_dict": {"m": torch.zeros(1000)}}, tmp_path / "fat.pth")
    expected = drive(load_weights(tmp_path / "fat.pth", config))

    saving = slim(tmp_path / "fat.pth", tmp_path / "plain.safetensors", {})
    assert saving.optimizer_bytes == 4000
    assert saving.after_bytes < saving.before_bytes
    np.testing.assert_array_equal(drive(load_weights(tmp_path / "plain.safetensors", config)), expected)

    models = [f"--{name}={tiny_folders / name}" for name in ("kosmos", "clip")]
    assert main(["policy", "slim", str(tmp_path / "fat.pth"), str(tmp_path / "slim.safetensors"), *models]) == 0
    assert "left to kosmos" in capsys.readouterr().out
    assert (tmp_path / "slim.safetensors").stat().st_size < 0.6 * saving.after_bytes
    np.testing.assert_array_equal(drive(load_weights(tmp_path / "slim.safetensors", config)), expected)
    kept = open_weights(tmp_path / "slim.safetensors")
    assert len(kept.tensors) == len(renamed)
    assert len(kept.bases) >= 2
    assert all(changed.partition(".clip.")[2] not in base["names"] for base in kept.bases)


def test_a_slim_file_notices_when_its_base_is_another(tiny_folders: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folders, tmp_path / "models")
    config = from_folders(tmp_path / "models")
    save_policy(NetworkPolicy.untrained(config), tmp_path / "policy")
    slim(tmp_path / "policy", tmp_path / "slim", {"clip": (str(tmp_path / "models" / "clip"), "")})
    np.testing.assert_array_equal(drive(load_policy(tmp_path / "slim")), drive(load_policy(tmp_path / "policy")))
    with pytest.raises(SettingsError, match="is slim already"):
        slim(tmp_path / "slim", tmp_path / "slimmer", {})
    file = tmp_path / "models" / "clip" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="is not the model it was slimmed against"):
        load_policy(tmp_path / "slim")
    with pytest.raises(SettingsError, match="no weight of its clip equals"):
        slim(tmp_path / "policy", tmp_path / "other", {"clip": (str(tiny_folders / "kosmos"), "")})
    assert not (tmp_path / "other").exists()


def test_convert_makes_a_folder_that_needs_nothing_else(training_file: Path, tmp_path: Path) -> None:
    saving = convert(training_file, tmp_path / "policy", HYBRID)
    assert saving.after_bytes < saving.before_bytes
    policy = make_network_policy(str(tmp_path / "policy"))
    np.testing.assert_array_equal(drive(policy), drive(built(training_file)))
    half = convert(training_file, tmp_path / "half", HYBRID, torch.bfloat16)
    assert half.after_bytes < 0.6 * saving.after_bytes
    smaller = make_network_policy(str(tmp_path / "half"))
    assert smaller.network.dtype == torch.bfloat16
    shrunk = make_network_policy(f"{tmp_path / 'policy'}@bf16")
    np.testing.assert_array_equal(drive(smaller), drive(shrunk))
    with pytest.raises(SettingsError, match="missing: fusion"):
        convert(training_file, tmp_path / "wrong", load_preset("multimodal", "tiny"))
    assert not (tmp_path / "wrong").exists()


def test_the_written_file_is_ordinary_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = {"a": torch.arange(3), "b": torch.ones(4, 16), "c": torch.tensor(2.5), "d": torch.ones(5, 3).t().half()}
    writing.write_safetensors(tmp_path / "x.safetensors", tensors, metadata={"key": "value"})
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(loaded[name], tensor.contiguous(), rtol=0, atol=0)


@pytest.fixture
def _full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", refuse)


@pytest.mark.usefixtures("_full_disk")
def test_a_full_disk_leaves_nothing_behind_and_keeps_what_was_there(
    training_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.safetensors").write_text("precious")
    arguments = ["policy", "convert", str(training_file), str(tmp_path / "policy"), "--policy", "hybrid@tiny"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left on device" in error
    assert main(["policy", "slim", str(training_file), str(tmp_path / "old.safetensors")]) == 2
    assert (tmp_path / "old.safetensors").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]


def test_space_is_looked_at_first(training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SettingsError, match=r"GB are needed there, 0\.00 GB are free"):
        convert(training_file, tmp_path / "policy", HYBRID)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_folder(training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(training_file, tmp_path / "policy", HYBRID)
    before = drive(load_policy(tmp_path / "policy"))

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "fsync", refuse)
        with pytest.raises(SettingsError, match="Input/output error"):
            convert(training_file, tmp_path / "policy", HYBRID)
    np.testing.assert_array_equal(drive(load_policy(tmp_path / "policy")), before)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "nowhere.pth"], "nowhere.pth: No such file"),
        (["convert", "FILE", "OUT"], "say what"),
        (["convert", "FILE", "OUT", "--policy", "hybrid"], "does not fit|other shape|missing"),
        (["convert", "FILE", "OUT", "--policy", "hybird"], "unknown policy 'hybird'"),
        (["convert", "FILE", "OUT", "--policy", "hybrid@tiny", "--kosmos", "nowhere"], "no such folder"),
        (["inspect", "FILE", "--kosmos", "x"], "go with --policy"),
        (["inspect", "FILE", "--policy", "small-cnn", "--clip", "x"], "has no clip"),
        (["slim", "FILE", "OUT"], "is named .safetensors"),
        (["bench", "FILE"], "does not say what it is"),
        (["bench", "hybrid@int9"], "no way to shrink"),
        (["bench"], "say which policy"),
        (["shrink", "small-cnn", "--to", "tiny"], "no way to shrink"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, training_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [{"FILE": str(training_file), "OUT": str(tmp_path / "out")}.get(word, word) for word in arguments]
    assert main(["policy", *said]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert any(word in error for word in words.split("|")), error
    assert list(tmp_path.iterdir()) == []
