from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vla_bt.cli.main import main
from vla_bt.policy.factory import make_policy
from vla_bt.policy.saved import load_policy
from vla_bt.settings import SettingsError
from vla_bt.train import trainer as module
from vla_bt.train.collect import Job, collect
from vla_bt.train.data import load_sequences
from vla_bt.train.settings import TrainSettings, load_train_settings
from vla_bt.train.trainer import Trainer

pytestmark = pytest.mark.sim

SMALL = TrainSettings(
    jobs=1, worlds=1, hard_share=0.0, epochs=2, dagger_rounds=1, dagger_worlds=1, dagger_epochs=1, trials=0, window=16
)


def quiet(line: str) -> None:
    pass


class InterruptedRunError(Exception):
    pass


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VALIDATION_WORLDS", 1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["learner"]["averaged"]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    figures = Trainer(SMALL, tmp_path / "whole", quiet).run()
    assert figures["chosen_round"] in (0, 1)
    assert set(figures["validation"]) == {"policy", "constant_median", "hold_last", "goal_mean"}

    def stop_after_first_pass(line: str) -> None:
        if "pass 2" in line:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        Trainer(SMALL, tmp_path / "cut", stop_after_first_pass).run()
    again = Trainer(SMALL, tmp_path / "cut", quiet)
    again.run()
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert len(logs[0]) == len(logs[1]) == 1 + 3
    policy = make_policy(str(tmp_path / "cut" / "best"))
    assert policy.info.label == SMALL.label
    assert (tmp_path / "cut" / "progress.png").stat().st_size > 1000

    with pytest.raises(SettingsError, match="other settings"):
        Trainer(replace(SMALL, epochs=3), tmp_path / "cut", quiet)
    (tmp_path / "cut" / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(SettingsError, match="not a checkpoint"):
        Trainer(SMALL, tmp_path / "cut", quiet)


def test_the_shipped_files_can_be_read() -> None:
    files = sorted(Path(__file__).parents[3].joinpath("config/train").glob("*.yaml"))
    assert files
    for path in files:
        load_train_settings(path)


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("epochs: many\n")
    assert main(["train", str(path)]) == 2
    assert capsys.readouterr().err == f"vla-bt train: {path}: epochs is 'many'; expected int (passes of the first round)\n"
    path.write_text("policy: hybrid\n")
    assert main(["train", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "chunks of 8 x 0.1 s" in capsys.readouterr().err


def test_the_settings_file_of_a_run_says_what_it_was_made_with(tmp_path: Path) -> None:
    Trainer(SMALL, tmp_path, quiet)
    assert json.loads((tmp_path / "settings.json").read_text())["worlds"] == 1
    Trainer(replace(SMALL, jobs=2), tmp_path, quiet)  # who shares the work does not matter


def test_drives_of_another_run_are_learned_from_instead_of_new_ones(tmp_path: Path) -> None:
    drives = tmp_path / "drives"
    collect([Job(1_999_999, False, "", 128, 72)], drives, 1, lambda done, total: None)
    said: list[str] = []
    first = Trainer(replace(SMALL, epochs=1, dagger_rounds=0), tmp_path / "first", said.append, data=drives)
    figures = first.run()
    assert "1 shards of" in said[0]
    assert not (tmp_path / "first" / "data-0").exists()
    assert figures["drives"] == len(load_sequences(sorted(drives.glob("*.npz"))))

    start = tmp_path / "first" / "best"
    second = Trainer(SMALL, tmp_path / "second", said.append, data=drives, start=start)
    theirs, ours = load_policy(start).network.state_dict(), second._learner.averaged.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    stem = Trainer(replace(SMALL, policy="small"), tmp_path / "small", said.append, data=drives, start=start)._learner
    assert torch.equal(stem.network.state_dict()["encoders.stem.3.weight"], theirs["encoders.cnn.3.weight"])
    with pytest.raises(SettingsError, match="other settings"):
        Trainer(SMALL, tmp_path / "second", quiet)
    with pytest.raises(SettingsError, match="no drives in it"):
        Trainer(SMALL, tmp_path / "third", quiet, data=tmp_path)
