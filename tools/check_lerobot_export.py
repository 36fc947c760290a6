"""Loads an exported dataset with the lerobot package and compares every frame with the episodes it was made from.

For an environment of its own, since lerobot pins other versions of torch and numpy than this project:

    python3 -m venv lerobot && lerobot/bin/pip install lerobot==0.4.4 h5py
    lerobot/bin/python tools/check_lerobot_export.py DATASET EPISODE...

EPISODEs are files with plain pictures, in the order in which they were exported. Exit code 0 only if all frames, times, actions
and tasks are the same; pictures may differ by what the film's compression loses, down to 30 dB.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import h5py
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch.utils.data import DataLoader

CAMERA = "observation.images.front"
LEAST_DB = 30.0


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare an exported LeRobotDataset with its episodes.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("episodes", nargs="+", type=Path)
    options = parser.parse_args()
    dataset = LeRobotDataset("local/check", root=options.dataset, video_backend="pyav")
    print(f"lerobot loads {dataset.num_episodes} episodes, {dataset.num_frames} frames at {dataset.fps:.6g} a second")
    wrong, at, worst_db, worst_action = [], 0, np.inf, 0.0
    for number, path in enumerate(options.episodes):
        with h5py.File(path) as file:
            images, actions = file["images"][:], file["commanded" if "commanded" in file else "actions"][:]
            goals = [goal.decode() for goal in file["goal_text"][:]] if "goal_text" in file else [""] * len(images)
            scenario = str(file.attrs.get("scenario", "unknown"))
            period = float(file.attrs.get("frame_period_s", 0.0))
            known = "commanded" in file and np.isfinite(actions[0]).all()
        if not known:  # the original format doesn't tell what was commanded at frame 0: it is left out
            images, actions, goals = images[1:], actions[1:], goals[1:]
        for index in range(len(images)):
            item = dataset[at]
            at += 1
            picture = np.asarray(item[CAMERA].permute(1, 2, 0) * 255)
            error = float(np.mean((picture - images[index]) ** 2))
            worst_db = min(worst_db, 10 * np.log10(255**2 / max(error, 1e-9)))
            worst_action = max(worst_action, float(np.abs(np.asarray(item["action"]) - actions[index]).max()))
            told = (int(item["episode_index"]), int(item["frame_index"]), item["task"])
            expected = (number, index, goals[index] or scenario)
            late = abs(float(item["timestamp"]) - index * period) > 1e-3 if period else False
            if told != expected or late:
                wrong.append(f"{path.name} frame {index}: {told}, expected {expected}")
    batches = sum(1 for _ in DataLoader(dataset, batch_size=8, shuffle=True))
    print(f"pictures: at least {worst_db:.1f} dB; actions: at most {worst_action:.1e} off; {batches} shuffled batches of 8")
    if at != dataset.num_frames:
        wrong.append(f"{dataset.num_frames} frames in the dataset, {at} in the episodes")
    print("\n".join(wrong[:10]) or "times, indices and tasks are the same")
    return 0 if not wrong and worst_db >= LEAST_DB and worst_action < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
