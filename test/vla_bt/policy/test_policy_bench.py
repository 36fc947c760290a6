"""The benchmark: what it times is what drives, and it says when a figure can't be true."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from vla_bt.cli.main import main
from vla_bt.policy import bench as benchmark
from vla_bt.policy.bench import MEASURED, Bench, as_dict, as_text, bench, staged_step
from vla_bt.policy.bound import Machine, Work, touched, work_of
from vla_bt.policy.compare import pictures
from vla_bt.policy.config import load_preset, preset_names
from vla_bt.policy.naive import NaivePolicy, has_places
from vla_bt.policy.preprocess import normalised, views_of
from vla_bt.policy.runtime import NetworkPolicy

GOAL = "go around the box on the left to the cup"


def tiny(name: str) -> NetworkPolicy:
    policy = NetworkPolicy.untrained(load_preset(name, "tiny"))
    policy.reset(GOAL)
    return policy


@pytest.mark.parametrize("name", ["hybrid", "small", "small-cnn", "multimodal", "case-2"])
def test_the_parts_and_the_documents_forward_compute_the_same_step(name: str) -> None:
    policy = tiny(name)
    (frame,) = pictures(1, policy.info.frame_height, policy.info.frame_width)
    expected = policy.step(frame, 0.0, MEASURED).raw_actions[:, : policy.config.head.action_dim]
    parts, times = staged_step(policy, frame)
    np.testing.assert_allclose(parts, expected, atol=1e-6)
    assert set(times) == set(benchmark.PARTS) - {"text"}
    assert all(seconds > 0.0 for seconds in times.values())
    own = NaivePolicy(policy, GOAL, own_preprocess=True)
    np.testing.assert_allclose(own.step([frame], MEASURED), expected, atol=1e-5)
    as_document = NaivePolicy(policy, GOAL)
    np.testing.assert_allclose(as_document.step([frame], MEASURED), expected, atol=2e-2)


def test_a_window_ends_where_streaming_is() -> None:
    policy = tiny("hybrid")
    frames = pictures(4, policy.info.frame_height, policy.info.frame_width)
    streamed = [policy.step(frame, 0.2 * index, MEASURED).raw_actions for index, frame in enumerate(frames)][-1]
    window = NaivePolicy(policy, GOAL, own_preprocess=True).step(frames, MEASURED)
    np.testing.assert_allclose(window, streamed[:, :2], atol=1e-5)


def test_kosmos_as_its_own_processor_feeds_it_sees_the_same_picture() -> None:
    policy = tiny("hybrid")
    (frame,) = pictures(1, policy.info.frame_height, policy.info.frame_width)
    assert has_places(policy)
    assert not has_places(tiny("small"))
    assert not has_places(tiny("multimodal"))
    encoders = policy.network.encoders
    views = normalised(views_of(frame, policy.config)[None])
    with torch.inference_mode():
        ours = {**encoders.image(views), **encoders.text(policy.tokens(GOAL))}
        theirs = NaivePolicy(policy, GOAL, places=True)._with_places(views)
    for name in ("kosmos_vision", "clip_vision", "clip_image", "clip_text"):
        torch.testing.assert_close(theirs[name], ours[name])
    words = ours["kosmos_text"]
    assert isinstance(words, torch.Tensor)
    assert not torch.equal(theirs["kosmos_text"], words), "its words have seen the picture"
    step = NaivePolicy(policy, GOAL, own_preprocess=True, places=True).step([frame], MEASURED)
    assert np.isfinite(step).all()


def test_only_what_runs_is_counted() -> None:
    policy = tiny("hybrid")
    (frame,) = pictures(1, policy.info.frame_height, policy.info.frame_width)
    work = work_of(policy, lambda: policy.step(frame, 0.0, MEASURED))
    encoders = policy.network.encoders
    assert encoders.kosmos is not None
    assert encoders.clip is not None
    vision = sum(weight.numel() for weight in encoders.kosmos.vision_model.parameters())
    vision += sum(weight.numel() for weight in encoders.clip.vision_model.parameters())
    vision += encoders.clip.visual_projection.weight.numel()
    assert work["vision"].parameters == vision, "no word table, no text layer"
    memory = sum(weight.numel() for weight in policy.network.memory.parameters())
    assert (work["memory"].parameters, work["memory"].weight_bytes) == (memory, 4 * memory)
    assert work["memory"].flops == pytest.approx(2 * memory, rel=0.05)
    assert work["vision"].flops > 2 * vision, "each of many patches goes through each weight"


def test_what_a_layer_hides_is_counted_and_what_rests_is_not() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.rests, self.attention = nn.Linear(8, 8), nn.Linear(8, 8), nn.MultiheadAttention(8, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.attention(self.used(values), values, values)[0]

    module = Both()
    numbers, size = touched(module, lambda: module(torch.ones(2, 1, 8)))
    expected = sum(weight.numel() for part in (module.used, module.attention) for weight in part.parameters())
    assert (numbers, size) == (expected, 4 * expected)


def result(step_s: float) -> Bench:
    """A measurement of a step of ``step_s`` on a machine whose bound is 10 ms + 5 ms."""
    work = {"vision": Work(10, 40, 10_000), "memory": Work(5, 5_000, 10)}
    return Bench("x", "float32", [step_s] * 5, [step_s] * 5, {"text": []}, work, Machine(1e6, 1e6), 15)


def test_a_figure_below_the_bound_is_called_impossible() -> None:
    assert result(0.03).bound_s == pytest.approx(0.015)
    assert result(0.03).possible
    assert as_dict(result(0.03))["timing"]["times_the_bound"] == pytest.approx(2.0)
    assert not result(0.014).possible
    assert "IMPOSSIBLE" in as_text(result(0.014))
    assert "2.00 times the bound" in as_text(result(0.03))


def test_an_impossible_figure_fails_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Machine, "bound_s", lambda *_: 1e3)
    assert main(["policy", "bench", "small-cnn@tiny", "--repeats", "2"]) == 1
    assert "IMPOSSIBLE" in capsys.readouterr().out


def test_the_rungs_are_printed_with_the_gain(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["policy", "bench", "--preset", "hybrid@tiny", "--versus", "naive", "--repeats", "3", "--warm-up", "1"]
    assert main([*arguments, "--in", "bf16"]) == 0
    text = capsys.readouterr().out
    rungs = ("8-frame window", "Kosmos-2's own call", "the document's forward", "our step in bf16")
    for words in ("p50", "preprocess", "memory", "bound", *rungs):
        assert words in text
    assert main([*arguments, "--json", "--in", ""]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["timing"]["rungs_ms"])[-1] == "+ recurrent path = our step"
    assert printed["result"]["touched_parameters"] < printed["result"]["stored_parameters"]
    assert printed["timing"]["possible"]


def test_a_limit_on_p99_is_kept_or_the_command_fails() -> None:
    assert main(["policy", "bench", "small-cnn@tiny", "--repeats", "3", "--p99-ms", "60000"]) == 0
    assert main(["policy", "bench", "small-cnn@tiny", "--repeats", "3", "--p99-ms", "0.0001"]) == 1


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_measured(name: str) -> None:
    found = bench(tiny(name), GOAL, repeats=1, warm_up=0)
    assert found.possible
    assert len(found.steps) == 1
    assert all(part.flops > 0 for stage, part in found.work.items() if part.parameters), found.work


def test_no_gpu_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert main(["policy", "bench", "small-cnn", "--device", "cuda"]) == 2
    assert "no CUDA device is here" in capsys.readouterr().err
