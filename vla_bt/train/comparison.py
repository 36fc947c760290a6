"""Several architectures taught on the same drives for the same number of frames, and measured alike.

Promises: each row says what was measured by this call on this machine; a row that is already there, made with the same settings
and data, is not made again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.policy.config import load_preset
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import WEIGHTS, load_policy
from vla_bt.policy.shrinking import Shrink, shrink
from vla_bt.settings import SettingsError
from vla_bt.train.data import load_sequences, shards_in
from vla_bt.train.metrics import table
from vla_bt.train.settings import VALIDATION_SEEDS, TrainSettings
from vla_bt.train.trainer import Trainer, summary
from vla_bt.train.trials import Trial, try_out
from vla_bt.words import ZERO

_LATENCY_STEPS = 60
BASELINES = ("hold_last", "constant_median", "goal_mean")

Say = Callable[[str], None]


def compare_models(
    names: list[str], settings: TrainSettings, data: Path, folder: Path, say: Say, start: Path | None = None
) -> list[dict[str, Any]]:
    """Train and measure each of ``names``; returns their rows.

    Parameters
    ----------
    names : list of str
        Presets such as ``small`` or ``pure@small``; ``NAME+layers1`` is NAME as trained, with its transformers cut to one layer
        afterwards.
    settings : TrainSettings
        Of all of them, but for ``policy``.
    data : Path
        Drives that a run collected.
    folder : Path
        Holds one run for each.
    start : Path, optional
        A policy whose weights all of them start from where they fit.
    """
    rows = []
    for name in names:
        preset, _, words = name.partition("+")
        say(f"{name}: begins")
        run = folder / preset.replace("@", "-at-")
        mine = dataclasses.replace(settings, policy=preset)
        began = time.perf_counter()
        Trainer(mine, run, partial(_prefixed, say, name), data, start).run(f"vla-bt models {name} --data {data}")
        policy = load_policy(run / "best")
        if words:
            policy = shrink(policy, Shrink.parse(words))
        row = measured(policy, run, settings, words)
        rows.append({"name": name, "seconds": round(time.perf_counter() - began), **row})
    return rows


def _prefixed(say: Say, name: str, line: str) -> None:
    say(f"{name}: {line}")


def measured(policy: NetworkPolicy, run: Path, settings: TrainSettings, words: str) -> dict[str, Any]:
    """Measure one policy; a trained one's figures are taken from its run, a shrunk one's are made anew."""
    figures = json.loads((run / "figures.json").read_text(encoding="utf-8"))
    validation, closed = figures["validation"], figures["rounds"][figures["chosen_round"]]
    if words:
        test = load_sequences(shards_in(run / "data-validation"))
        validation = {**validation, "policy": table(policy, test, test)["policy"]}
        tasks = [(VALIDATION_SEEDS.start + index // 2, index % 2 == 1) for index in range(settings.trials)]
        done: list[Trial] = [try_out(policy, *task, settings.wide_surfaces) for task in tasks]
        closed = summary(done)
    size = sum(weight.numel() for weight in policy.network.parameters())
    return {
        "parameters": size,
        "file_mb": round((run / "best" / WEIGHTS).stat().st_size / 1e6, 2) if not words else None,
        "latency_ms": latency_ms(policy),
        "nominal": closed["nominal"],
        "hard": closed["hard"],
        "each": closed["trials"] // 2,
        "validation": {name: validation[name] for name in ("policy", *BASELINES)},
    }


def latency_ms(policy: NetworkPolicy) -> float:
    """Return the median time of a step on this machine, one thread [ms]."""
    frame = np.zeros((policy.info.frame_height, policy.info.frame_width, 3), np.uint8)
    policy.warm_up()
    policy.reset("go to the cup")
    times = [policy.step(frame, 0.1 * index, ZERO).latency_s for index in range(_LATENCY_STEPS)]
    return round(1e3 * float(np.median(times)), 2)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table, the baselines of the first below."""
    lines = [
        "| policy | parameters | step [ms] | nominal | hard | MAE | of best baseline | within 0.1 | R2 x / y / yaw |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own = row["validation"]["policy"]
        best = min(row["validation"][name]["mae"] for name in BASELINES)
        share = f"{own['mae'] / best:.0%}"
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {row['latency_ms']:.1f} | {row['nominal']} of {row['each']} "
            f"| {row['hard']} of {row['each']} | {own['mae']:.3f} | {share} | {own['within']['0.1']:.1%} | {_r2(own)} |"
        )
    for name in BASELINES:
        row = rows[0]["validation"][name]
        lines.append(
            f"| *{name.replace('_', ' ')}* | - | - | - | - | {row['mae']:.3f} | - | {row['within']['0.1']:.1%} | {_r2(row)} |"
        )
    return "\n".join(lines)


def _r2(row: dict[str, Any]) -> str:
    return " / ".join("-" if value is None else f"{value:.2f}" for value in row["r2"].values())


def check_names(names: list[str]) -> None:
    """Refuse what can't be trained, before anything is.

    Raises
    ------
    SettingsError
        With one line.
    """
    for name in names:
        preset, _, words = name.partition("+")
        config = load_preset(*preset.partition("@")[::2])
        if config.head.chunk != 8 or config.head.action_dim != 3:
            raise SettingsError(f"policy {preset}: its head can't be taught here; use {preset}@small")
        Shrink.parse(words)
