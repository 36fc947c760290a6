"""The exported step: what another runtime computes is what torch computes, or nothing is kept."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from vla_bt.cli.main import main
from vla_bt.policy import export
from vla_bt.policy.factory import make_network_policy
from vla_bt.settings import SettingsError

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="pip install 'vla_bt[export]'",
)


@needs_onnx
@pytest.mark.parametrize("name", ["hybrid@tiny", "small-cnn@tiny"])
def test_another_runtime_computes_the_same_stream(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "export", name, str(tmp_path / "out"), "--onnx"]) == 0
    assert "verified" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"step.onnx", "step.json"}
    card = json.loads((tmp_path / "out" / "step.json").read_text())
    assert card["largest_difference"] <= export.TOLERANCE
    assert [item["name"] for item in card["inputs"]][:2] == ["views", "motion"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@needs_onnx
def test_what_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(SettingsError, match="not kept: it differs from torch"):
        export.export_onnx(make_network_policy("small-cnn@tiny"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    policy = make_network_policy("small-cnn@tiny")
    monkeypatch.setattr(export.importlib, "import_module", absent)
    with pytest.raises(SettingsError, match=r"pip install 'vla_bt\[export\]'"):
        export.export_onnx(policy, tmp_path / "out")


def test_eight_bits_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be exported; quantise where it will run"):
        export.export_onnx(make_network_policy("small-cnn@tiny@int8"), tmp_path / "out")


@needs_onnx
def test_goals_read_word_by_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="reads the goal word by word"):
        export.export_onnx(make_network_policy("multimodal@tiny"), tmp_path / "out")
