from __future__ import annotations

import json
from pathlib import Path

import pytest

from vla_bt.cli.main import main
from vla_bt.policy.config import load_preset
from vla_bt.policy.saved import load_policy
from vla_bt.train import trainer as module
from vla_bt.train.collect import Job, collect
from vla_bt.train.comparison import compare_models, markdown
from vla_bt.train.settings import TrainSettings

pytestmark = pytest.mark.sim

SETTINGS = TrainSettings(jobs=1, epochs=1, dagger_rounds=0, trials=0, window=16)


def test_each_architecture_is_taught_on_the_same_drives_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VALIDATION_WORLDS", 1)
    drives = tmp_path / "drives"
    collect([Job(1_999_998, False, "", load_preset("small").image.picture)], drives, 1, lambda done, total: None)
    names = ["small-cnn", "pure@small+layers1"]
    rows = compare_models(names, SETTINGS, drives, tmp_path / "out", lambda line: None)
    assert [row["name"] for row in rows] == names
    kept = sum(
        tensor.numel() for tensor in load_policy(tmp_path / "out" / "pure-at-small" / "best").network.state_dict().values()
    )
    assert rows[1]["parameters"] < kept
    assert all(row["latency_ms"] > 0 and row["validation"]["policy"]["mae"] > 0 for row in rows)
    assert rows[1]["validation"]["hold_last"] == rows[0]["validation"]["hold_last"]
    lines = markdown(rows).splitlines()
    assert len(lines) == 2 + 2 + 3
    assert lines[3].startswith("| pure@small+layers1 | ")

    said: list[str] = []
    again = compare_models(names[:1], SETTINGS, drives, tmp_path / "out", said.append)
    assert not any("pass 1 of" in line for line in said), "it was taught again"
    assert json.dumps(again[0]["validation"]) == json.dumps(rows[0]["validation"])


def test_what_cannot_be_taught_is_refused_before_anything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("epochs: 1\n")
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--config", str(config)]
    assert main(["models", "small-cnn", "pure", *arguments]) == 2
    assert "use pure@small" in capsys.readouterr().err
    assert main(["models", "small+layers", *arguments]) == 2
    assert not (tmp_path / "out").exists()
    assert main(["models", "small-cnn", *arguments]) == 2
    assert "no drives in it" in capsys.readouterr().err


def test_the_shipped_settings_are_found_from_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drives").mkdir()
    assert main(["models", "small-cnn", "--data", "drives"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("vla-bt models: drives: no drives in it")
