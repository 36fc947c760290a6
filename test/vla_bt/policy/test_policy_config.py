"""Configurations are read strictly: what can't be built is refused with one line."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vla_bt.policy.config import FEATURES, from_dict, load_config, load_preset, preset_names
from vla_bt.settings import SettingsError, config_path, read_yaml

EXPECTED = {
    "hybrid", "pure", "small", "small-cnn", "simple-lstm", "clip-lstm", "enhanced-2d", "multimodal", "robovlms",
    "case-1", "case-2", "case-3", "stress",
}  # fmt: skip


def test_all_presets_are_there_and_read_back_what_they_say() -> None:
    assert set(preset_names()) == EXPECTED
    for name in preset_names():
        for scale in ("full", "tiny"):
            config = load_preset(name, scale)
            assert config.name == (name if scale == "full" else f"{name}@tiny")
            assert from_dict(config.to_dict(), "again") == config


def test_the_reference_has_the_real_widths() -> None:
    config = load_preset("hybrid", "full")
    assert config.kosmos is not None
    assert config.clip is not None
    assert (config.kosmos.vision.width, config.kosmos.text.width, config.kosmos.latents) == (1024, 2048, 64)
    assert (config.clip.vision.width, config.clip.text.width, config.clip.projection) == (768, 512, 512)
    assert (config.temporal.kind, config.temporal.layers, config.head.widths, config.head.action_dim) == (
        "lstm",
        4,
        (512, 256),
        2,
    )
    assert not config.clip.centre_crop, "boxes stand at the sides"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The hybrid preset with one entry changed."""
    content = copy.deepcopy(read_yaml(config_path("policies/hybrid.yaml")))
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("colour", "red", "unknown setting 'colour'"),
        ("kosmos.vision.widht", 5, "kosmos: vision: unknown setting 'widht'"),
        ("temporal.layers", 0, "temporal: layers is 0; expected 1 to 8"),
        ("temporal.layers", "four", "layers is 'four'; expected int"),
        ("temporal.kind", "lstmm", "expected one of lstm, gru, rnn, none"),
        ("head.widths", 512, "widths is 512; expected a list"),
        ("head.widths", [512, "x"], "widths is 'x'; expected int"),
        ("head.scale", [1.0, 1.0], "head.scale has 2 numbers"),
        ("head.raw_dim", 1, "less than action_dim"),
        ("features", {}, "no features"),
        ("features", {"eyes": "pooled"}, "unknown feature 'eyes'"),
        ("features", {"kosmos_text": "spatial"}, "expected one of pooled, tokens"),
        ("features", {"cnn": "spatial"}, "feature cnn needs a section 'cnn:'"),
        ("features", {"kosmos_vision": "pooled"}, "section 'clip:' is there but none of its features is used"),
        ("features.kosmos_vision", "tokens", "which fusion 'concat' can't read"),
        ("fusion.kind", "resampler", "reads image tokens only"),
        ("fusion.kind", "cross_attention", "for one text feature"),
        ("fusion.attention_heads", 7, "no multiple of attention_heads"),
        ("kosmos.vision.heads", 15, "width 1024 is no multiple of 15 heads"),
        ("clip.patch", 31, "no multiple of clip.patch 31"),
        ("clip.revision", "main", "clip.revision without clip.source"),
        ("image.stem", [16, 16], "with an image.stem it must be 1"),
        ("clip", None, "expected a mapping, got None"),
    ],
)  # fmt: skip
def test_what_can_not_be_built_is_refused_in_one_line(path: str, value: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_dict(changed(path, value), "my.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_named() -> None:
    content = read_yaml(config_path("policies/hybrid.yaml"))
    del content["clip"]["text"]["mlp"]
    with pytest.raises(SettingsError, match="clip: text: mlp is missing"):
        from_dict(content, "my.yaml")


def test_wrong_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown policy 'hybird'; known: expert, case-1"):
        load_preset("hybird")
    with pytest.raises(SettingsError, match="unknown scale 'huge'"):
        load_preset("hybrid", "huge")
    (tmp_path / "x.yaml").write_text("[1, 2")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_config(tmp_path / "x.yaml")


def test_every_feature_is_used_by_some_preset() -> None:
    used = {feature for name in preset_names() for feature in load_preset(name, "full").features}
    assert used == set(FEATURES)


def test_reading_configurations_and_the_client_need_no_torch() -> None:
    code = (
        "import sys, vla_bt.policy.config as c, vla_bt.policy.client, vla_bt.policy.inline, vla_bt.policy.factory;"
        "import vla_bt.policy.worker;"
        "c.load_preset('hybrid'); sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'rclpy', 'py_trees')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
