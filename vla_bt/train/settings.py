"""What a training run is, read from ``config/train/*.yaml``: declared once with units and ranges.

Promises: an unknown name, a wrong type or a value out of range is one line that says what, where and what would be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vla_bt.settings import build, read_yaml, setting

TRAIN_SEEDS = range(1_000_000, 2_000_000)
VALIDATION_SEEDS = range(900_000, 1_000_000)
"""Scene seeds by their use; those below are for tests and never trained on, nor used to choose a checkpoint."""


@dataclass(frozen=True)
class TrainSettings:
    """One training run: rounds of collecting and learning; the first by the expert, the others by the policy itself."""

    policy: str = setting("small-cnn", "preset in config/policies, with @small at the size of the preset small")
    seed: int = setting(0, "of scenes, sentences, weights and order", 0, 9)
    jobs: int = setting(2, "processes that collect, and that try the policy out", 1, 64)
    threads: int = setting(1, "torch's threads while learning", 1, 64)
    device: str = setting("cpu", "where the network learns; it drives on the processor in any case", choices=("cpu", "cuda"))
    worlds: int = setting(400, "worlds of the first round; each is driven to both sides, or once with none told", 1, 100_000)
    hard_share: float = setting(0.4, "share of worlds with hard conditions", 0.0, 1.0)
    no_cup: float = setting(0.05, "share of worlds with the cup behind the wall: nothing is to be claimed there", 0.0, 1.0)
    wide_surfaces: float = setting(0.0, "share of worlds painted with any colours and patterns, not as a home", 0.0, 1.0)
    near_cup: float = setting(0.0, "share of worlds in which the drive begins near the cup", 0.0, 1.0)
    changes: float = setting(0.0, "share of drives to a told side on whose way another had been told before", 0.0, 1.0)
    darkness: float = setting(0.0, "share of drives in which the light goes out for a while: the label is to stand", 0.0, 1.0)
    epochs: int = setting(8, "passes of the first round", 1, 1000)
    dagger_rounds: int = setting(2, "later rounds, in which the policy drives and the expert says what would be right", 0, 20)
    dagger_worlds: int = setting(120, "worlds of each later round", 1, 100_000)
    dagger_epochs: int = setting(3, "passes over everything collected so far in each later round", 1, 1000)
    batch: int = setting(8, "sequences a step", 1, 512)
    window: int = setting(32, "frames of each sequence a step; the memory is carried on to the next", 4, 512)
    learning_rate: float = setting(4e-3, "at its highest", 1e-6, 0.1)
    weight_decay: float = setting(1e-2, "of AdamW", 0.0, 1.0)
    average: float = setting(0.995, "decay of the averaged weights, which are the ones tried out and shipped", 0.0, 0.99999)
    mirror: float = setting(0.5, "share of sequences mirrored, words included", 0.0, 1.0)
    recolour: float = setting(0.0, "share of sequences whose pictures get other colours, hue turned", 0.0, 1.0)
    refusals: float = setting(0.06, "share of sequences whose goal is meaningless or elsewhere: the label is to stand", 0.0, 0.5)
    stop_weight: float = setting(0.2, "of the stop signal's loss", 0.0, 10.0)
    auxiliary_weight: float = setting(1.0, "of the loss on where cup and boxes are", 0.0, 10.0)
    told_weight: float = setting(0.1, "of the loss on what the words ask for, read from the text side alone", 0.0, 10.0)
    trials: int = setting(40, "closed-loop trials after each round, half of them hard", 0, 10_000)
    label: str = setting("trained in the simulator", "what people are told about the weights")


def load_train_settings(path: Path) -> TrainSettings:
    """Read a file.

    Raises
    ------
    SettingsError
        With one line, when it can't be used.
    """
    return build(TrainSettings, read_yaml(path), str(path))
