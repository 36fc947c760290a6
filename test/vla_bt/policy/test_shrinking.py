"""Smaller policies: what goes, what stays, what it costs, all of it told."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vla_bt.cli.main import main
from vla_bt.policy.compare import Request, pictures, rows
from vla_bt.policy.config import load_preset
from vla_bt.policy.factory import make_policy
from vla_bt.policy.names import split_name
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.policy.shrinking import EightBitLinear, Shrink, held_bytes, kept, module_numbers, shrink
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO

GOAL = "go around the box on the left to the cup"


def deep(name: str = "hybrid") -> NetworkPolicy:
    """A tiny policy with enough layers to take some out."""
    config = load_preset(name, "tiny")
    assert config.kosmos is not None
    kosmos = replace(config.kosmos, vision=replace(config.kosmos.vision, layers=5), text=replace(config.kosmos.text, layers=4))
    return NetworkPolicy.untrained(replace(config, kosmos=kosmos))


def drive(policy: NetworkPolicy, count: int = 3) -> NDArray[np.float32]:
    policy.reset(GOAL)
    frames = pictures(count, policy.info.frame_height, policy.info.frame_width)
    return np.stack([policy.step(frame, 0.2 * index, ZERO).raw_actions for index, frame in enumerate(frames)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Shrink()),
        ("bf16", Shrink("bf16")),
        ("int8+layers6", Shrink("int8", 6)),
        ("layers12+text16+fp16", Shrink("fp16", 12, 16)),
    ],
)
def test_ways_to_shrink_are_words(text: str, expected: Shrink) -> None:
    assert Shrink.parse(text) == expected
    assert Shrink.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["int9", "layers", "layers0", "bf16+int8", "layers6+layers7", "text-1"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no way to shrink; known: fp32, bf16"):
        Shrink.parse(text)


def test_names_say_how(tmp_path: Path) -> None:
    assert split_name("hybrid@full@int8+layers6") == ("hybrid", "full", "int8+layers6")
    assert split_name("small@bf16") == ("small", "", "bf16")
    folder = tmp_path / "at@home"
    folder.mkdir()
    assert split_name(f"{folder}@int8") == (str(folder), "", "int8")
    policy = make_policy("small-cnn@bf16")
    assert isinstance(policy, NetworkPolicy)
    assert policy.network.dtype == torch.bfloat16
    with pytest.raises(SettingsError, match="sizes: full, small, tiny"):
        make_policy("hybrid@huge")


def test_which_layers_stay() -> None:
    assert kept(24, 6) == [0, 5, 9, 14, 18, 23]
    assert kept(12, 6) == [0, 2, 4, 7, 9, 11]
    assert kept(4, 6) == [0, 1, 2, 3]
    assert kept(4, 1) == [3]


def test_layers_that_go_leave_the_others_as_they_were(tmp_path: Path) -> None:
    policy, whole = deep(), deep()
    shrink(policy, Shrink(layers=2))
    assert policy.config.kosmos is not None
    assert (policy.config.kosmos.vision.layers, policy.config.kosmos.text.layers) == (2, 2)
    assert whole.network.encoders.kosmos is not None
    assert policy.network.encoders.kosmos is not None
    before = whole.network.encoders.kosmos.vision_model.model.encoder.layers
    after = policy.network.encoders.kosmos.vision_model.model.encoder.layers
    for index, original in enumerate((0, 4)):
        for name, weight in after[index].state_dict().items():
            torch.testing.assert_close(weight, before[original].state_dict()[name], rtol=0, atol=0)
    assert not np.array_equal(drive(policy), drive(whole))
    save_policy(policy, tmp_path / "reduced")
    np.testing.assert_array_equal(drive(load_policy(tmp_path / "reduced")), drive(policy))


@pytest.mark.parametrize("name", ["hybrid", "small-cnn", "multimodal", "enhanced-2d", "case-1"])
@pytest.mark.parametrize(("how", "close"), [("bf16", 0.03), ("int8", 0.05)])
def test_smaller_numbers_drift_a_little_and_take_less(name: str, how: str, close: float) -> None:
    whole = NetworkPolicy.untrained(load_preset(name, "tiny"))
    small = shrink(NetworkPolicy.untrained(load_preset(name, "tiny")), Shrink(how))
    expected, found = drive(whole), drive(small)
    assert np.isfinite(found).all()
    assert not np.array_equal(found, expected)
    assert float(np.abs(found - expected).max()) < close
    assert held_bytes(small.network) < (0.55 if how == "bf16" else 0.9) * held_bytes(whole.network)
    numbers = [sum(map(module_numbers, policy.network.modules())) for policy in (whole, small)]
    assert numbers[0] == numbers[1], "nothing is lost from the count"


def test_eight_bits_are_eight_bits() -> None:
    policy = shrink(NetworkPolicy.untrained(load_preset("small", "full")), Shrink("int8"))
    assert policy.eight_bit
    kinds = {type(module).__module__ + "." + type(module).__name__ for module in policy.network.encoders.modules()}
    assert any("quantized.dynamic" in kind and kind.endswith("Linear") for kind in kinds)
    assert "quantized.dynamic" in type(policy.network.memory.cell).__module__
    assert type(policy.network.head.action) is nn.Linear
    with pytest.raises(SettingsError, match="8-bit weights are made while loading and can't be saved"):
        save_policy(policy, Path("never"))
    assert not Path("never").exists()


def test_wide_weights_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamic = torch.ao.nn.quantized.dynamic.Linear
    seen: list[weakref.ref[nn.Module]] = []
    original: Any = vars(dynamic)["from_float"].__func__

    def watched(kind: type, module: nn.Module, *rest: object) -> nn.Module:
        assert not any(reference() is not None for reference in seen), "an earlier layer is still held"
        seen.append(weakref.ref(module))
        made: nn.Module = original(kind, module, *rest)
        return made

    monkeypatch.setattr(dynamic, "from_float", classmethod(watched))
    policy = shrink(NetworkPolicy.untrained(load_preset("hybrid", "tiny")), Shrink("bf16"))
    shrink(policy, Shrink("int8"))
    assert len(seen) > 20
    assert np.isfinite(drive(policy)).all()


def test_weights_alone_in_eight_bits_compute_nearly_the_same() -> None:
    torch.manual_seed(0)
    linear, values = nn.Linear(64, 32), torch.randn(5, 64)
    with torch.no_grad():
        expected, found = linear(values), EightBitLinear(linear)(values)
    assert float((found - expected).abs().max()) < 0.02
    assert held_bytes(EightBitLinear(linear)) == 32 * 64 + 2 * 4 * 32
    half = EightBitLinear(nn.Linear(64, 32).bfloat16())
    assert half(values.bfloat16()).dtype == torch.bfloat16


def test_a_shorter_text_is_cut() -> None:
    policy = NetworkPolicy.untrained(load_preset("hybrid", "tiny"))
    long = "go around the box on the left and then past the other box on the right and then on to the cup"
    assert policy.tokens(long)["clip"][0].shape[1] > 16
    shrink(policy, Shrink(text_tokens=16))
    assert policy.tokens(long)["clip"][0].shape[1] == 16
    assert policy.config.clip is not None
    assert policy.config.clip.positions == 16


def test_the_comparison_is_printed_beside_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(Request("hybrid@tiny", None, GOAL, 3), ["fp32", "bf16"])
    assert [row["how"] for row in found] == ["as stored", "fp32", "bf16"]
    assert found[1]["drift_max"] == 0.0
    assert found[2]["drift_max"] > 0.0
    assert found[2]["weights_mb"] < 0.6 * found[0]["weights_mb"]
    assert main(["policy", "shrink", "small-cnn", "--to", "int8", "--frames", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["how"] for row in printed["result"]["rows"]] == ["as stored", "int8"]
    assert set(printed["timing"]) == {"as stored", "int8"}
