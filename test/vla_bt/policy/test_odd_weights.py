"""Weights and folders as they come in practice: of several types, in several files, damaged, hostile. One line, or it drives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vla_bt.cli.main import main
from vla_bt.policy.config import load_preset
from vla_bt.policy.convert import convert, slim
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.inspection import inspect
from vla_bt.policy.stored import open_weights
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO

HYBRID = load_preset("hybrid", "tiny")


@pytest.fixture(scope="module")
def weights(training_file: Path) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in open_weights(training_file).tensors.items()}


@pytest.fixture(scope="module")
def folder(training_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("folder") / "policy"
    convert(training_file, target, HYBRID)
    return target


def stepped(path: Path, how: str = "", allow_missing: bool = False) -> Any:
    policy = make_network_policy(str(path), how=how, config=HYBRID, allow_missing=allow_missing)
    policy.reset("go to the cup")
    return policy, policy.step(np.full((180, 320, 3), 90, np.uint8), 0.0, ZERO)


@pytest.mark.parametrize("kinds", [(torch.float16, torch.float32), (torch.bfloat16, torch.float16), (torch.float64,)])
def test_weights_of_several_types_drive_as_one(
    kinds: tuple[torch.dtype, ...], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    mixed = {name: tensor.to(kinds[index % len(kinds)]) for index, (name, tensor) in enumerate(weights.items())}
    torch.save(mixed, tmp_path / "mixed.pth")
    assert inspect(tmp_path / "mixed.pth", HYBRID, shipped_tokenizers=True).can_run
    policy, step = stepped(tmp_path / "mixed.pth")
    assert policy.network.dtype == torch.float32
    torch.save({name: tensor.float() for name, tensor in mixed.items()}, tmp_path / "plain.pth")
    np.testing.assert_array_equal(step.raw_actions, stepped(tmp_path / "plain.pth")[1].raw_actions)
    assert stepped(tmp_path / "mixed.pth", "bf16")[0].network.dtype == torch.bfloat16


def test_what_is_started_at_random_is_of_the_others_type(weights: dict[str, Tensor], tmp_path: Path) -> None:
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items() if not name.startswith("actions.")}
    torch.save(half, tmp_path / "half.pth")
    policy, step = stepped(tmp_path / "half.pth", allow_missing=True)
    assert step.finite
    assert "untrained: head" in policy.info.label
    command = ["policy", "bench", str(tmp_path / "half.pth"), "--policy", "hybrid@tiny", "--repeats", "1"]
    assert main(command) == 2
    assert main([*command, "--allow-missing"]) == 0


def test_a_folder_of_shards_is_whole_or_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    names, shards = list(weights), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for shard, part in zip(shards, (names[:100], names[100:]), strict=True):
        save_file({name: weights[name].contiguous() for name in part}, tmp_path / shard)
    index = {"weight_map": {name: shards[position >= 100] for position, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({names[0]: torch.zeros(1)}, tmp_path / "another.safetensors")
    found = open_weights(tmp_path).tensors
    assert set(found) == set(weights)
    assert torch.equal(found[names[0]], weights[names[0]]), "the index decides, not whatever else lies there"
    (tmp_path / shards[1]).unlink()
    with pytest.raises(SettingsError, match=r"'model-00002-of-00002.safetensors' is not there, which model\.safetensors\.index"):
        open_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(SettingsError, match="can't be read as an index"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"x": torch.eye(3).to_sparse()}, "x is float32, sparse_coo; expected plain numbers"),
        ({"x": torch.ones(3, dtype=torch.complex64)}, "x is complex64"),
        ({"x": torch.empty(3, device="meta")}, "x is without values"),
        ({"x\x1b[31m\n": torch.ones(1)}, "which is no name"),
    ],
)
def test_what_is_no_plain_weight_is_refused(
    extra: dict[str, Tensor], words: str, weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**weights, **extra}, tmp_path / "odd.pth")
    assert main(["policy", "slim", str(tmp_path / "odd.pth"), str(tmp_path / "slim.safetensors")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pth"]


def test_a_flipped_bit_is_not_converted(training_file: Path, tmp_path: Path) -> None:
    content = bytearray(training_file.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "flipped.pth").write_bytes(content)
    with pytest.raises(SettingsError, match="does not match its checksum"):
        convert(tmp_path / "flipped.pth", tmp_path / "out", HYBRID)
    with pytest.raises(SettingsError, match="does not match its checksum"):
        slim(tmp_path / "flipped.pth", tmp_path / "out.safetensors", {})
    assert [path.name for path in tmp_path.iterdir()] == ["flipped.pth"]


def changed(content: dict[str, Any], path: str, value: Any) -> str:
    *inner, last = path.split(".")
    place = content
    for word in inner:
        place = place[word]
    place[last] = value
    return json.dumps(content)


BROKEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "empty": lambda _: "",
    "deep": lambda _: "[" * 100_000,
    "models a list": lambda content: changed(content, "models", []),
    "a model in words": lambda content: changed(content, "models.kosmos", "x"),
    "layers in words": lambda content: changed(content, "models.kosmos.text_config.layers", "x"),
    "no heads": lambda content: changed(content, "models.kosmos.text_config.attention_heads", 0),
    "heads that do not divide": lambda content: changed(content, "models.kosmos.text_config.attention_heads", 7),
    "an unknown function": lambda content: changed(content, "models.clip.vision_config.hidden_act", "os.system"),
    "a name over two lines": lambda content: changed(content, "policy.name", "a\nb"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_card_is_one_line(how: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "policy"
    shutil.copytree(folder, broken)
    card = broken / "config.json"
    card.write_text(BROKEN[how](json.loads(card.read_text())))
    for verb in (["inspect"], ["bench", "--repeats", "1"]):
        assert main(["policy", verb[0], str(broken), *verb[1:]]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert said.startswith("vla-bt policy: ")


def test_weights_that_are_no_numbers_fail_the_benchmark(
    weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**weights, "actions.mlp.4.bias": torch.full((2,), torch.nan)}, tmp_path / "nan.pth")
    assert main(["policy", "bench", str(tmp_path / "nan.pth"), "--policy", "hybrid@tiny", "--repeats", "1"]) == 1
    assert "NOT FINITE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "small@tiny", "--threads", "-1"],
        ["bench", "small@tiny", "--p99-ms", "-1"],
        ["shrink", "small@tiny", "--frames", "0"],
        ["inspect", "/dev/null"],
    ],
)
def test_senseless_options_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
