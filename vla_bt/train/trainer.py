"""A whole training run: rounds of collecting, learning and trying out, in one folder.

Promises: interrupted at any moment and started again, it goes on from its last finished pass and ends with the same weights as
if it had not been (one thread, one machine); the policy it hands over is the one of the round that drove best, not the last.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_bt.policy.config import load_preset
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.settings import SettingsError
from vla_bt.train.card import card
from vla_bt.train.checkpoint import Board, FolderLock, Log, load_checkpoint, read_json, save_checkpoint
from vla_bt.train.collect import Job, collect
from vla_bt.train.data import Sequence, ahead, draw_lessons, load_sequences, shards_in, windows
from vla_bt.train.learner import Learner, device_of
from vla_bt.train.metrics import table
from vla_bt.train.recorded import write_shards
from vla_bt.train.settings import TRAIN_SEEDS, VALIDATION_SEEDS, TrainSettings
from vla_bt.train.trials import Trial, try_all

LOSSES = {
    "action": "velocities",
    "stop": "stop signal",
    "remembered": "places remembered",
    "seen": "places seen",
    "told": "words",
}
COLUMNS = ("round", "epoch", "steps", "frames", "rate", *LOSSES, "seconds")
_VALIDATION_WORLDS = 20
_LATER_PEAK = 0.5
_ROUND_SEEDS = 100_000

Say = Callable[[str], None]


class Trainer:
    """One run in one folder.

    Parameters
    ----------
    settings : TrainSettings
    folder : Path
        Holds everything; a folder of other settings is refused.
    say : callable
        Is told, in a line each, what goes on.
    data : Path, optional
        Folder of drives that another run collected (its ``data-0``, say): the first round learns from all of them and collects
        none, so that policies can be compared on the same data.
    start : Path, optional
        Folder of a policy to start from: what fits of its weights is taken over.
    episodes : list of Path
        Folders of recorded episodes and books of views of them, to learn from in the first round instead of collecting any, or
        beside ``data``.

    Raises
    ------
    SettingsError
        With one line, when policy, folder, data, start, episodes or device can't be used. A run that comes to nothing that early
        leaves the folder free for another.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        say: Say,
        data: Path | None = None,
        start: Path | None = None,
        episodes: list[Path] | None = None,
    ) -> None:
        self.settings, self.folder, self._say = settings, folder, say
        self._data, self._start, self._episodes = data, start, list(episodes or ())
        if data is not None and not shards_in(data):
            raise SettingsError(f"{data}: no drives in it; expected a run's data folder, such as runs/train/small-cnn/data-0")
        self.config = load_preset(*settings.policy.partition("@")[::2])
        if self.config.head.chunk != 8 or self.config.head.period_s != 0.1 or self.config.head.action_dim != 3:
            raise SettingsError(
                f"policy {settings.policy}: the expert teaches chunks of 8 x 0.1 s with turning; head says otherwise"
            )
        device = device_of(settings)
        given = load_policy(start).network.state_dict() if start is not None else None
        mine = self._mine()
        self._check_claim(mine)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        try:
            self._begin(mine, device, given)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, mine: dict[str, Any], device: torch.device, given: Mapping[str, torch.Tensor] | None) -> None:
        """Take the folder, and go on where a run in it was."""
        settings, folder, say = self.settings, self.folder, self._say
        fresh = folder / ".settings.json.tmp"
        fresh.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / "settings.json")
        torch.set_num_threads(settings.threads)
        self._learner = Learner(self.config, settings, device)
        self._done = (0, 0)  # rounds and passes of the current round that are behind us
        state = load_checkpoint(folder / "checkpoint.pt")
        if state is not None:
            self._restore(state)
            say(f"goes on after round {self._done[0]}, pass {self._done[1]}")
        elif given is not None:
            taken = self._learner.start_from(given)
            if not taken:
                raise SettingsError(f"{self._start}: none of its weights fits policy {settings.policy}")
            say(f"starts from {len(taken)} tensors of {self._start}")
        first = state["rows"] if state is not None else 0
        self._first: dict[str, Any] = {"worlds": settings.worlds, "data": "", "shards": 0, "episodes": [], "episode_drives": 0}
        self._log = Log(folder / "log.csv", COLUMNS, first)
        self._board = Board(folder / "tensorboard", self._learner.steps)
        if not self._board.writes:
            say("no TensorBoard log: the package tensorboardX is not installed (extra vla_bt[train]); log.csv says the same")

    def _mine(self) -> dict[str, Any]:
        mine = dataclasses.asdict(self.settings) | {
            name: str(path.resolve()) if path is not None else "" for name, path in (("data", self._data), ("start", self._start))
        }
        return mine | {"episodes": " ".join(str(path.resolve()) for path in self._episodes)}

    def _check_claim(self, mine: dict[str, Any]) -> None:
        """Refuse a folder with a run of other settings in it; one that came to nothing leaves it free."""
        path = self.folder / "settings.json"
        begun = any(self.folder.glob("data-*/*.npz")) or (self.folder / "checkpoint.pt").exists()
        if not path.exists() or not begun:
            return
        theirs = dataclasses.asdict(TrainSettings()) | read_json(path)
        # How many processes share the work does not change what comes of it, and more rounds only go on.
        if any(theirs.get(name, "") != value for name, value in mine.items() if name not in ("jobs", "label", "dagger_rounds")):
            raise SettingsError(f"{self.folder}: holds a run with other settings; choose another --out or remove it")

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self._learner.restore(state["learner"])
            self._done = (int(state["round"]), int(state["epoch"]))
            int(state["rows"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            words = " ".join(str(error).split())[:200]
            raise SettingsError(f"{self.folder / 'checkpoint.pt'}: not of this run: {words}; remove it to start anew") from None

    def run(self, command: str = "vla-bt train") -> dict[str, Any]:
        """Run what is left of it; returns the card's figures. ``command`` is what the card says made the weights."""
        try:
            return self._run(command)
        finally:
            self._lock.release()

    def _run(self, command: str) -> dict[str, Any]:
        started = time.perf_counter()
        sequences: list[Sequence] = []
        for number in range(self.settings.dagger_rounds + 1):
            found = load_sequences(self._collect(number))
            self._check_frames(number, found)
            sequences += found
            if number < self._done[0]:
                continue
            self._learn(number, sequences)
            self._finish(number)
        best = self._choose()
        policy = load_policy(self.folder / f"round-{best['round']}")
        shutil.rmtree(self.folder / "best", ignore_errors=True)
        save_policy(policy, self.folder / "best", self.settings.label)
        self._say("measuring the chosen policy on validation drives")
        test = load_sequences(self._collect_validation())
        figures = {
            "policy": self.settings.policy,
            "settings": dataclasses.asdict(self.settings),
            "drives": len(sequences),
            "frames": sum(map(len, sequences)),
            "parameters": sum(weight.numel() for weight in policy.network.parameters()),
            "rounds": self._rounds(),
            "first_round": self._first,
            "chosen_round": best["round"],
            "validation": table(policy, sequences, test),
            "seconds_of_this_call": round(time.perf_counter() - started),
        }
        (self.folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (self.folder / "best" / "card.md").write_text(card(figures, command), encoding="utf-8")
        return figures

    # ------------------------------------------------------------------ the parts of a round

    def _jobs(self, number: int) -> list[Job]:
        settings = self.settings
        count = settings.dagger_worlds if number else settings.worlds
        first = TRAIN_SEEDS.start + _ROUND_SEEDS * number + 10_000 * settings.seed
        driver = str(self.folder / f"round-{number - 1}") if number else ""
        picture = self.config.image.picture
        return [
            Job(
                first + i,
                hard_world(i, settings.hard_share),
                driver,
                picture,
                no_cup=settings.no_cup,
                wide_surfaces=settings.wide_surfaces,
                near_cup=settings.near_cup,
                changes=settings.changes,
                darkness=settings.darkness,
            )
            for i in range(count)
        ]

    def _collect(self, number: int) -> list[Path]:
        if number == 0 and (self._data is not None or self._episodes):
            paths = shards_in(self._data) if self._data is not None else []
            if paths:
                self._say(f"round 0: {len(paths)} shards of {self._data}")
            read = self._read_episodes() if self._episodes else []
            self._first = {
                "worlds": 0,
                "data": str(self._data) if self._data is not None else "",
                "shards": len(paths),
                "episodes": list(map(str, self._episodes)),
                "episode_drives": len(load_sequences(read)),
            }
            return paths + read
        jobs = self._jobs(number)
        who = f"the policy of round {number - 1}" if number else "the expert, disturbed"
        self._say(f"round {number}: {len(jobs)} worlds driven by {who}")
        return collect(jobs, self.folder / f"data-{number}", self.settings.jobs, self._count(f"round {number}: shard"))

    def _check_frames(self, number: int, sequences: list[Sequence]) -> None:
        image = self.config.image
        where = self._data if number == 0 and self._data is not None else self.folder / f"data-{number}"
        for sequence in sequences:
            height, width = sequence.frames.shape[1:3]
            if (width, height) != (image.frame_width, image.frame_height):
                raise SettingsError(
                    f"{where}: its pictures are {width}x{height}; policy {self.settings.policy} takes "
                    f"{image.frame_width}x{image.frame_height}"
                )
            if not math.isnan(sequence.fovy_deg) and sequence.fovy_deg != image.fovy_deg:
                raise SettingsError(
                    f"{where}: it was seen through a lens of {sequence.fovy_deg:g} degrees (0: the camera's own); "
                    f"policy {self.settings.policy} has image.fovy_deg {image.fovy_deg:g}"
                )

    def _read_episodes(self) -> list[Path]:
        image = self.config.image

        def shown(done: int, total: int) -> None:
            if done == total or done % 200 == 0:
                self._say(f"round 0: episode {done} of {total}")

        return write_shards(self._episodes, self.folder / "data-episodes", (image.frame_width, image.frame_height), shown)

    def _collect_validation(self) -> list[Path]:
        seeds = range(VALIDATION_SEEDS.start + 50_000, VALIDATION_SEEDS.start + 50_000 + _VALIDATION_WORLDS)
        jobs = [Job(seed, seed % 2 == 1, "", self.config.image.picture) for seed in seeds]
        return collect(jobs, self.folder / "data-validation", self.settings.jobs, self._count("validation: shard"))

    def _count(self, what: str) -> Callable[[int, int], None]:
        def shown(done: int, total: int) -> None:
            if done == total or done % 5 == 0:
                self._say(f"{what} {done} of {total}")

        return shown

    def _learn(self, number: int, sequences: list[Sequence]) -> None:
        settings = self.settings
        epochs = settings.dagger_epochs if number else settings.epochs
        peak = settings.learning_rate * (_LATER_PEAK if number else 1.0)
        done = self._done[1] if self._done[0] == number else 0
        for epoch in range(done, epochs):
            rng = np.random.default_rng([settings.seed, number, epoch, 241])
            began = time.perf_counter()
            sums: dict[str, float] = dict.fromkeys(LOSSES, 0.0)
            frames, rate, whole = 0, 0.0, settings.batch * settings.window
            groups = draw_lessons(sequences, settings, rng)
            # The first pass is over pictures as they are: what is where must be learned before what may change.
            changes = rng if number or epoch else None
            cut = (
                (index, batch)
                for index, group in enumerate(groups)
                for batch in windows(group, settings.window, changes, settings.recolour)
            )
            for index, batch in ahead(cut):
                rate = self._learner.rate((epoch + index / len(groups)) / epochs, peak)
                for name, loss in self._learner.learn(batch, rate).items():
                    sums[name] += loss
                frames += int(batch.mask.sum())
            row: dict[str, Any] = {"round": number, "epoch": epoch, "steps": self._learner.steps, "frames": frames}
            row |= {"rate": f"{rate:.2e}"} | {name: f"{value * whole / frames:.4f}" for name, value in sums.items()}
            seconds = max(time.perf_counter() - began, 1e-3)
            row["seconds"] = round(seconds, 1)
            self._log.add(row)
            self._board.add({f"loss/{name}": float(row[name]) for name in LOSSES} | {"rate": rate}, self._learner.steps)
            self._save(number, epoch + 1)
            self._say(
                f"round {number}, pass {epoch + 1} of {epochs}: {', '.join(f'{name} {row[name]}' for name in LOSSES)}; "
                f"{frames / seconds:.0f} frames/s"
            )
            plot(self._log.rows(), self.folder / "progress.png")

    def _save(self, number: int, epoch: int) -> None:
        state = {"learner": self._learner.state(), "round": number, "epoch": epoch, "rows": len(self._log.rows())}
        save_checkpoint(self.folder / "checkpoint.pt", state)

    def _finish(self, number: int) -> None:
        """Save the round's policy and try it out."""
        folder = self.folder / f"round-{number}"
        save_policy(self._learner.policy(f"in training, round {number}"), folder)
        trials = try_all(folder, self.settings) if self.settings.trials else []
        result = {"round": number, **summary(trials)}
        (self.folder / f"round-{number}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        self._say(f"round {number}: closed loop {result['nominal']} nominal, {result['hard']} hard of {len(trials) // 2} each")
        each = max(1, len(trials) // 2)
        self._board.add({f"closed loop/{kind}": result[kind] / each for kind in ("nominal", "hard")}, self._learner.steps)
        self._save(number + 1, 0)

    def _rounds(self) -> list[dict[str, Any]]:
        """Return the results of all rounds, in their order."""
        found = [read_json(path) for path in self.folder.glob("round-*.json")]
        return sorted(found, key=lambda result: int(result["round"]))

    def _choose(self) -> dict[str, Any]:
        """Return the result of the round that drove best; of equals the later."""
        return max(self._rounds(), key=lambda result: (result["nominal"] + result["hard"], result["round"]))


def hard_world(index: int, share: float) -> bool:
    """Tell whether the world of that index has hard conditions.

    They come evenly: of a thousand worlds in a row ``share`` to a thousandth, of ten as near to it as whole worlds can be.
    """
    block, digit = divmod(index, 10)
    return 100 * (7 * digit % 10) + 37 * block % 100 < round(1000 * share)


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Count successes, and reasons of failures."""
    reasons: dict[str, int] = {}
    for trial in trials:
        if not trial.ok:
            what = trial.why if not trial.why.startswith("claimed") else "claimed elsewhere"
            reasons[what] = reasons.get(what, 0) + 1
    return {
        "trials": len(trials),
        "nominal": sum(trial.ok for trial in trials if not trial.hard),
        "hard": sum(trial.ok for trial in trials if trial.hard),
        "failures": dict(sorted(reasons.items())),
    }


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the losses over frames learned from."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    frames = np.cumsum([int(row["frames"]) for row in rows])
    for name, words in LOSSES.items():
        axes.plot(frames, [float(row[name]) for row in rows], marker=".", label=words)
    for at, (before, after) in enumerate(pairwise(rows)):
        if before["round"] != after["round"]:
            axes.axvline(frames[at], color="grey", linewidth=0.8)
    axes.set(xlabel="frames learned from", ylabel="loss", yscale="log", title="Training; a grey line begins a round")
    axes.grid(alpha=0.3)
    axes.legend()
    fresh = path.with_suffix(".tmp.png")
    figure.savefig(fresh, dpi=110)
    fresh.rename(path)
