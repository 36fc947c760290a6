"""Local model folders through the real ``from_pretrained``: the numbers of transformers' own modules, no download, no code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, Kosmos2Model
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vla_bt.policy.config import ImageConfig, PolicyConfig, load_preset
from vla_bt.policy.preprocess import normalised, views_of
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.policy.tokenizers import build
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO

GOAL = "go around the box on the left to the cup"
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 sets when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def from_folders(folders: Path) -> PolicyConfig:
    """Hybrid with both encoders read from the tiny folders."""
    config = load_preset("hybrid", "tiny")
    assert config.kosmos is not None
    assert config.clip is not None
    return replace(
        config,
        image=ImageConfig(width=56, height=56, frame_width=160, frame_height=90),
        kosmos=replace(config.kosmos, source=str(folders / "kosmos"), patch=14, positions=128),
        clip=replace(config.clip, source=str(folders / "clip"), patch=28),
        features={**config.features, "kosmos_image": "pooled"},
    )


def test_features_equal_those_of_transformers_own_modules(tiny_folders: Path) -> None:
    policy = NetworkPolicy.untrained(from_folders(tiny_folders))
    kosmos = Kosmos2Model.from_pretrained(tiny_folders / "kosmos")
    clip = CLIPModel.from_pretrained(tiny_folders / "clip")
    pixels = normalised(views_of(RNG.integers(0, 256, (90, 160, 3), dtype=np.uint8), policy.config))
    words = {name: AutoTokenizer.from_pretrained(tiny_folders / name)(GOAL, return_tensors="pt") for name in ("kosmos", "clip")}
    encoders = policy.network.encoders
    with torch.no_grad():
        found = encoders.image(pixels[None])
        text = encoders.text({name: tokens.encode([GOAL]) for name, tokens in policy.tokenizers.items()})
        expected = {
            "kosmos_vision": kosmos.vision_model(pixels).pooler_output,
            "kosmos_image": kosmos.get_image_features(pixels).pooler_output.mean(1),
            "clip_vision": clip.vision_model(pixels).pooler_output,
            "clip_image": clip.get_image_features(pixels).pooler_output,
        }
        told = {
            "kosmos_text": kosmos.text_model(**words["kosmos"]).last_hidden_state.mean(1),
            "clip_text": clip.get_text_features(**words["clip"]).pooler_output,
        }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)
    for name, value in told.items():
        torch.testing.assert_close(text[name], value, atol=1e-6, rtol=1e-5)


def test_a_policy_from_folders_drives_and_is_saved_without_them(tiny_folders: Path, tmp_path: Path) -> None:
    copies = tmp_path / "models"
    shutil.copytree(tiny_folders, copies)
    policy = NetworkPolicy.untrained(from_folders(copies))
    frame = RNG.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    policy.reset(GOAL)
    step = policy.step(frame, 0.0, ZERO)
    assert step.finite
    save_policy(policy, tmp_path / "saved")
    shutil.rmtree(copies)
    loaded = load_policy(tmp_path / "saved")
    loaded.reset(GOAL)
    np.testing.assert_array_equal(loaded.step(frame, 0.0, ZERO).actions, step.actions)


@pytest.mark.parametrize(
    ("source", "revision", "words"),
    [
        ("no such place", "", "no such folder, and not a hub name"),
        ("openai/clip-vit-base-patch32", "", "needs 'revision' with a commit"),
        ("openai/clip-vit-base-patch32", "main", "needs 'revision' with a commit"),
        ("openai/clip-vit-base-patch32", "0" * 40, "no tokenizer can be read there"),
    ],
)
def test_sources_are_local_or_pinned(tiny_folders: Path, source: str, revision: str, words: str) -> None:
    config = from_folders(tiny_folders)
    assert config.clip is not None
    with pytest.raises(SettingsError) as caught:
        NetworkPolicy.untrained(replace(config, clip=replace(config.clip, source=source, revision=revision)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_empty_pickled_incomplete_or_of_another_model_are_refused(tiny_folders: Path, tmp_path: Path) -> None:
    config = from_folders(tiny_folders)
    assert config.clip is not None
    (tmp_path / "empty").mkdir()
    shutil.copytree(tiny_folders / "clip", tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    shutil.copytree(tiny_folders / "clip", tmp_path / "cut")
    content = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(content[:-1000])
    for folder, words in (
        (tmp_path / "empty", "holds no config.json"),
        (tmp_path / "pickled", "can't be loaded as CLIPModel"),
        (tmp_path / "cut", "can't be loaded as CLIPModel"),
        (tiny_folders / "kosmos", "CLIPModel"),
    ):
        with pytest.raises(SettingsError, match=words):
            NetworkPolicy.untrained(replace(config, clip=replace(config.clip, source=str(folder))))


@pytest.mark.parametrize("crop", [False, True])
def test_one_preprocess_stays_close_to_the_reference_processor(crop: bool) -> None:
    config = load_preset("hybrid", "full")
    assert config.clip is not None
    config = replace(config, clip=replace(config.clip, centre_crop=crop))
    x, y = np.meshgrid(np.linspace(0, 1, 1280), np.linspace(0, 1, 720))
    waves = np.stack([np.sin(60 * x), np.cos(40 * y), np.sin(200 * x * y)], -1)
    frame = ((waves + 1) * 127.5).astype(np.uint8)
    size = {"shortest_edge": 224} if crop else {"height": 224, "width": 224}
    reference = CLIPImageProcessorPil(size=size, do_center_crop=crop)(frame, return_tensors="pt")["pixel_values"]
    ours = normalised(views_of(frame, config))
    assert ours.shape[0] == (2 if crop else 1)
    difference = (ours[-1:] - reference).abs()
    span = 1 / 0.26
    assert float(difference.mean()) < 1e-4 * span
    assert float(difference.max()) < 0.01 * span


def test_the_shipped_tokenizers_are_what_the_script_makes() -> None:
    assert (build.HERE / "clip.json").read_text(encoding="utf-8") == build.build_clip() + "\n"
    assert (build.HERE / "kosmos.json").read_text(encoding="utf-8") == build.build_kosmos() + "\n"


@pytest.mark.parametrize("name", ["clip", "kosmos"])
def test_any_text_becomes_a_bounded_number_of_words(name: str) -> None:
    tokenizer = GoalTokenizer.shipped(name, 16)
    texts = ["", GOAL, "컵으로 가세요 🤖", "a" * 10_000, "x y " * 500, "\0\n\t"]
    ids, mask = tokenizer.encode(texts)
    assert ids.shape[1] <= 16
    assert int(ids.max()) < tokenizer.vocabulary
    for row, kept in zip(ids, mask.sum(1), strict=True):
        assert row[0] == tokenizer.start
        assert row[kept - 1] == tokenizer.end
    assert int(mask[1].sum()) == 12, "every common word is one token"
