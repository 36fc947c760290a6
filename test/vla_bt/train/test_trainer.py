from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vla_bt.cli.main import main
from vla_bt.policy.config import load_preset
from vla_bt.policy.factory import make_policy
from vla_bt.policy.saved import load_policy
from vla_bt.settings import SettingsError
from vla_bt.train import trainer as module
from vla_bt.train.collect import Job, collect
from vla_bt.train.data import load_sequences
from vla_bt.train.settings import TrainSettings, load_train_settings
from vla_bt.train.trainer import Trainer, hard_world

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


def test_a_damaged_settings_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data-0").mkdir()
    (tmp_path / "data-0" / "00000.npz").write_bytes(b"")
    for text in ("", "{", "[1]"):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(SettingsError, match=r"settings.json: damaged: .*choose another --out or remove it"):
            Trainer(SMALL, tmp_path, quiet)


def test_a_run_that_came_to_nothing_leaves_its_folder_free(tmp_path: Path) -> None:
    nothing, out = tmp_path / "nothing", tmp_path / "out"
    nothing.mkdir()
    with pytest.raises(SettingsError, match="no policy there"):
        Trainer(SMALL, out, quiet, start=nothing)
    assert not out.exists()
    with pytest.raises(SettingsError, match="no complete episode"):
        Trainer(SMALL, out, quiet, episodes=[nothing]).run()
    Trainer(replace(SMALL, worlds=2), out, quiet)
    assert json.loads((out / "settings.json").read_text())["worlds"] == 2


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    first = Trainer(SMALL, tmp_path, quiet)
    with pytest.raises(SettingsError, match="another training is under way"):
        Trainer(SMALL, tmp_path, quiet)
    first._lock.release()
    Trainer(SMALL, tmp_path, quiet)


def test_settings_that_came_later_do_not_refuse_an_older_run(tmp_path: Path) -> None:
    Trainer(SMALL, tmp_path, quiet)
    (tmp_path / "data-0").mkdir()
    (tmp_path / "data-0" / "00000.npz").write_bytes(b"")
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "device"}))
    Trainer(SMALL, tmp_path, quiet)
    with pytest.raises(SettingsError, match="other settings"):
        Trainer(replace(SMALL, worlds=7), tmp_path, quiet)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("device: cuda\n")
    assert main(["train", str(path), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "finds no such device here; expected cpu" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    path.write_text("device: tpu\n")
    assert main(["train", str(path)]) == 2
    assert "device is 'tpu'; expected one of cpu, cuda" in capsys.readouterr().err


def test_rounds_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, tmp_path, quiet)
    for number in (10, 2, 9):
        (tmp_path / f"round-{number}.json").write_text(json.dumps({"round": number, "nominal": 1, "hard": 1}))
    assert [result["round"] for result in trainer._rounds()] == [2, 9, 10]
    assert trainer._choose()["round"] == 10


def test_hard_worlds_come_as_the_share_says_and_tenths_as_ever() -> None:
    for tenths in range(11):
        assert [hard_world(i, tenths / 10) for i in range(200)] == [i * 7 % 10 < tenths for i in range(200)]
    for share in (0.25, 0.04, 0.333, 0.999, 0.001):
        assert sum(hard_world(i, share) for i in range(1000)) == round(1000 * share)
    assert 45 <= sum(hard_world(i, 0.25) for i in range(200)) <= 55


def test_drives_of_another_run_are_learned_from_instead_of_new_ones(tmp_path: Path) -> None:
    drives = tmp_path / "drives"
    collect([Job(1_999_999, False, "", load_preset("small-cnn").image.picture)], drives, 1, lambda done, total: None)
    said: list[str] = []
    first = Trainer(replace(SMALL, epochs=1, dagger_rounds=0), tmp_path / "first", said.append, data=drives)
    figures = first.run()
    assert "1 shards of" in said[0]
    assert not (tmp_path / "first" / "data-0").exists()
    assert figures["drives"] == len(load_sequences(sorted(drives.glob("*.npz"))))
    card = (tmp_path / "first" / "best" / "card.md").read_text()
    assert f"First 1 shards of `{drives}`, collected by another run." in card
    assert "driven by the expert" not in card
    assert "driven by the policy itself" not in card
    assert "within 0.3 | within 0.2 | within 0.15 | within 0.1 | correlation forward" in card
    with pytest.raises(SettingsError, match="other settings"):
        Trainer(SMALL, tmp_path / "first", quiet)
    state = torch.load(tmp_path / "first" / "checkpoint.pt", weights_only=True)
    torch.save(state | {"learner": {}}, tmp_path / "first" / "checkpoint.pt")
    with pytest.raises(SettingsError, match=r"checkpoint.pt: not of this run"):
        Trainer(replace(SMALL, epochs=1, dagger_rounds=0), tmp_path / "first", quiet, data=drives)

    start = tmp_path / "first" / "best"
    second = Trainer(SMALL, tmp_path / "second", said.append, data=drives, start=start)
    theirs, ours = load_policy(start).network.state_dict(), second._learner.averaged.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    stem = Trainer(replace(SMALL, policy="small"), tmp_path / "small", said.append, data=drives, start=start)._learner
    assert torch.equal(stem.network.state_dict()["encoders.stem.3.weight"], theirs["encoders.cnn.3.weight"])
    with pytest.raises(SettingsError, match="another training is under way in it"):
        Trainer(SMALL, tmp_path / "second", quiet)  # nobody has begun in it, but somebody holds it
    with pytest.raises(SettingsError, match="no drives in it"):
        Trainer(SMALL, tmp_path / "third", quiet, data=tmp_path)


def test_drives_seen_through_another_lens_are_refused(tmp_path: Path) -> None:
    wanted = load_preset("small-cnn").image.picture
    drives = tmp_path / "drives"
    collect([Job(1_999_998, False, "", wanted._replace(fovy_deg=37.5))], drives, 1, lambda done, total: None)
    assert {sequence.fovy_deg for sequence in load_sequences(sorted(drives.glob("*.npz")))} == {37.5}
    trainer = Trainer(replace(SMALL, epochs=1, dagger_rounds=0), tmp_path / "run", quiet, data=drives)
    with pytest.raises(SettingsError, match=rf"a lens of 37.5 degrees .* has image.fovy_deg {wanted.fovy_deg:g}"):
        trainer.run()
