"""Episodes as a LeRobotDataset v3.0: parquet tables, an H.264 film of all frames, and descriptions in JSON.

Feature                    holds
observation.images.front   the frame the decision was made on (video)
observation.state          odometry: x, y, yaw in odom, vx, vy, wz in base_link; left out when a frame has none
action                     what was commanded; in files of the original format, and imported ones, what they call actions
source                     who asked, a number of :class:`vla_bt.words.Source`; where all files tell it
recorded_s                 when the frame was decided on [s since the episode's first]; where all files tell it
task                       the goal pursued on that frame; else the scenario

LeRobot takes frames as equally spaced at ``fps``, so ``timestamp`` is the frame's number times the period asked for, 1.05 s as
0.952... frames a second; the times that were are ``recorded_s``. Frame 0 of what came from the original format is left out: what
was commanded there is unknown, and this format has no word for that. ``frames_left_out`` tells it of each episode.

Promises: the folder is there whole or not at all; episodes whose units, picture sizes or periods differ are refused, since a
dataset of this kind has one of each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vla_bt.episodes.export_stats import ImageCounts, of_columns
from vla_bt.episodes.format import Episode, load
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import EpisodeError
from vla_bt.episodes.units import KEYS, SI
from vla_bt.episodes.video import VideoWriter
from vla_bt.episodes.view import period_of
from vla_bt.episodes.writer import unused

CAMERA = "observation.images.front"
VIDEO_BYTES = 200 << 20
QUALITY, KEY_EVERY = 16, 2  # visually lossless; two pictures to decode at most for any one
_STATE = ["x", "y", "yaw", "velocity_x", "velocity_y", "velocity_yaw"]
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_CHUNK = 1000


@dataclass
class _Like:
    """What all episodes of a dataset share."""

    size: tuple[int, int]
    period_s: float
    unit: str
    state: bool
    source: bool
    times: bool


@dataclass
class _Done:
    """What is known once every episode was written."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    pictures: ImageCounts = field(default_factory=ImageCounts)


def export_lerobot(paths: Sequence[Path], out: Path, each: Iterable[Path] = ()) -> dict[str, Any]:
    """Write a dataset of the episodes in these files; returns ``info.json``'s content.

    Parameters
    ----------
    paths : sequence of Path
        In the order they get.
    each : iterable of Path
        The same, handed out one at a time: for whoever wants to count.
    out : Path
        A folder that isn't there yet.

    Raises
    ------
    EpisodeError
        When a file is no episode, or differs in what a dataset has one of.
    OSError
        When the folder can't be written.
    """
    making = unused(out)
    try:
        info = _write(paths, each or paths, making)
        making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return info


def left_out(dataset: Path) -> int:
    """Return how many frames of the episodes an exported dataset doesn't hold, since nothing tells what was commanded there."""
    table = pq.read_table(dataset / _EPISODES, columns=["frames_left_out"])
    return int(sum(table["frames_left_out"].to_pylist()))


def _write(paths: Sequence[Path], each: Iterable[Path], folder: Path) -> dict[str, Any]:
    like, done = _first_of(paths), _Done()
    with _Films(folder, like) as films:
        for path in each:
            episode, left_out = _read(path)
            _compare(path, episode, like)
            _add(episode, left_out, like, done, films)
    table = {name: _array(name, values, like) for name, values in done.rows.items()}
    (folder / "data/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(table), folder / "data/chunk-000/file-000.parquet")
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(done.episodes), folder / _EPISODES)
    _write_tasks(done.tasks, folder / "meta/tasks.parquet")
    stats = {**of_columns(done.rows), CAMERA: done.pictures.figures()}
    (folder / "meta/stats.json").write_text(json.dumps(stats, indent=2), encoding="utf-8")
    info = _info(like, done)
    (folder / "meta/info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    return info


def _read(path: Path) -> tuple[Episode, int]:
    """Read an episode without the frames whose command nothing tells; returns how many these are, too."""
    episode, left_out = load(path), 0
    if not episode.frames:
        raise EpisodeError(f"{printable(path)}: holds no frame")
    if _unknown_first(episode):
        left_out, columns = 1, {name: values[1:] for name, values in episode.columns.items()}
        episode = replace(episode, columns=columns, images=episode.images[1:])
    if not episode.frames:
        raise EpisodeError(f"{printable(path)}: holds frame 0 alone, and nothing tells what was commanded there")
    if not np.isfinite(_actions(episode)).all():
        raise EpisodeError(f"{printable(path)}: an action is not finite")
    return episode, left_out


def _unknown_first(episode: Episode) -> bool:
    """Tell whether nothing says what was commanded at frame 0: so it is in the original format and what came from it."""
    commanded = episode.columns.get("commanded")
    return commanded is None or ("imported_channel_order" in episode.attributes and bool(np.isnan(commanded[0]).any()))


def _first_of(paths: Sequence[Path]) -> _Like:
    """Look at every file without its pictures: a feature is there only where all files have it."""
    from vla_bt.episodes.opening import read

    state = source = times = True
    for path in paths:
        columns = read(path, images=False).columns
        odometry = columns.get("odometry")
        state = state and odometry is not None and odometry.shape[1:] == (6,) and bool(np.isfinite(odometry).all())
        source = source and "source" in columns
        decided = columns.get("decided_s")
        times = times and decided is not None and decided.ndim == 1 and bool(np.isfinite(decided).all())
    first, _ = _read(paths[0])
    return _Like((first.images.shape[2], first.images.shape[1]), period_of(first), first.action_unit, state, source, times)


def _compare(path: Path, episode: Episode, like: _Like) -> None:
    size = (episode.images.shape[2], episode.images.shape[1])
    for what, here, there in (("pictures of", size, like.size), ("actions in", episode.action_unit, like.unit)):
        if here != there:
            raise EpisodeError(f"{printable(path)}: {what} {here}, the first file's are {there}; export them apart")
    if abs(period_of(episode) - like.period_s) > 0.02 * like.period_s:
        periods = f"{period_of(episode):.3g} s apart, the first file's {like.period_s:.3g} s"
        raise EpisodeError(f"{printable(path)}: frames are {periods}; export them apart")


def _actions(episode: Episode) -> NDArray[np.float32]:
    """Return what was commanded; the original format tells it but for frame 0."""
    known = episode.columns.get("commanded", episode.columns["actions"])
    return known.astype(np.float32)


def _add(episode: Episode, left_out: int, like: _Like, done: _Done, films: _Films) -> None:
    number, count, start = len(done.episodes), episode.frames, len(done.rows.get("index", []))
    goals = episode.columns.get("goal_text", np.full(count, ""))
    scenario = str(episode.attributes.get("scenario") or "unknown")
    tasks = [printable(goal or scenario, 500) for goal in goals]
    for task in tasks:
        done.tasks.setdefault(task, len(done.tasks))
    rate = 1.0 / like.period_s
    rows: dict[str, list[Any]] = {"action": list(_actions(episode))}
    if like.state:
        rows["observation.state"] = list(episode.columns["odometry"].astype(np.float32))
    if like.source:
        rows["source"] = [int(value) for value in episode.columns["source"]]
    if like.times:
        decided = episode.columns["decided_s"]
        rows["recorded_s"] = list((decided - decided[0]).astype(np.float32))
    rows["timestamp"] = [index / rate for index in range(count)]
    rows["frame_index"] = list(range(count))
    rows["episode_index"] = [number] * count
    rows["index"] = list(range(start, start + count))
    rows["task_index"] = [done.tasks[task] for task in tasks]
    for name, values in rows.items():
        done.rows.setdefault(name, []).extend(values)
    pictures = ImageCounts()
    pictures.add(episode.images)
    done.pictures.add(episode.images)
    place = films.add(episode.images)
    about: dict[str, Any] = {
        "episode_index": number,
        "tasks": list(dict.fromkeys(tasks)),
        "length": count,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": start,
        "dataset_to_index": start + count,
        **{f"videos/{CAMERA}/{name}": value for name, value in place.items()},
    }
    for name, figures in {**of_columns(rows), CAMERA: pictures.figures()}.items():
        about |= {f"stats/{name}/{figure}": value for figure, value in figures.items()}
    about |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    about |= {"source_file": printable(episode.path.name), "scenario": printable(scenario), "frames_left_out": left_out}
    done.episodes.append(about)


class _Films:
    """The films of all episodes, one behind the other; a new file when one is full."""

    def __init__(self, folder: Path, like: _Like) -> None:
        self._folder, self._like = folder, like
        self._rate = 1 / Fraction(str(round(like.period_s, 6)))
        self._number, self._shown = -1, 0
        self._writer: VideoWriter | None = None

    def add(self, images: NDArray[np.uint8]) -> dict[str, Any]:
        """Add an episode's pictures; returns where they are."""
        if self._writer is None or self._writer.bytes > VIDEO_BYTES:
            self.close()
            self._number, self._shown = self._number + 1, 0
            place = _VIDEO.format(video_key=CAMERA, chunk_index=self._number // _CHUNK, file_index=self._number % _CHUNK)
            path = self._folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(path, *self._like.size, self._rate, QUALITY, KEY_EVERY)
        began = self._shown
        for image in images:
            self._writer.write(image)
        self._shown += len(images)
        return {
            "chunk_index": self._number // _CHUNK,
            "file_index": self._number % _CHUNK,
            "from_timestamp": float(began / self._rate),
            "to_timestamp": float(self._shown / self._rate),
        }

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> _Films:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_KINDS = {"timestamp": pa.float32(), "recorded_s": pa.float32()}


def _array(name: str, values: list[Any], like: _Like) -> pa.Array:
    if name in ("action", "observation.state"):
        width = 3 if name == "action" else len(_STATE)
        flat = np.asarray(values, np.float32).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), width)
    return pa.array(values, _KINDS.get(name, pa.int64()))


def _write_tasks(tasks: dict[str, int], path: Path) -> None:
    """Write the table that pandas reads with the tasks as its index, without needing pandas."""
    index = "__index_level_0__"
    names = [("task_index", "int64", "int64"), (index, "unicode", "object")]
    columns = [
        {"name": None if name == index else name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in names
    ]
    about = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), index: pa.array(list(tasks), pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), path)


def _info(like: _Like, done: _Done) -> dict[str, Any]:
    width, height = like.size
    rate = 1.0 / like.period_s
    fps: float = round(rate) if abs(rate - round(rate)) < 1e-9 else rate
    axes = {SI: ["linear_x", "linear_y", "angular_z"], KEYS: ["key_x", "key_y", "key_turn"]}
    features: dict[str, Any] = {
        CAMERA: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        },
        "action": {"dtype": "float32", "shape": [3], "names": axes.get(like.unit, ["unknown_x", "unknown_y", "unknown_turn"])},
    }
    if like.state:
        features["observation.state"] = {"dtype": "float32", "shape": [len(_STATE)], "names": _STATE}
    if like.source:
        features["source"] = {"dtype": "int64", "shape": [1], "names": None}
    if like.times:
        features["recorded_s"] = {"dtype": "float32", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return {
        "codebase_version": "v3.0",
        "robot_type": "vla_bt",
        "total_episodes": len(done.episodes),
        "total_frames": len(done.rows["index"]),
        "total_tasks": len(done.tasks),
        "chunks_size": _CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": VIDEO_BYTES >> 20,
        "fps": fps,
        "splits": {"train": f"0:{len(done.episodes)}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": features,
    }
