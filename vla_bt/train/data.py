"""Collected drives in memory, and the batches a pass makes of them.

Promises: batches depend on the drives and the generator alone; mirroring swaps left and right everywhere: picture, words,
sideways and turning velocities, positions. Pictures are changed alike all along a sequence, but for the grain, which is new in
each frame.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vla_bt.policy.expert import CHUNK
from vla_bt.settings import SettingsError
from vla_bt.train.collect import ARRAYS
from vla_bt.train.practice import AUXILIARY
from vla_bt.train.sentences import draw_refusal, draw_sentence, mirrored, with_a_strange_word
from vla_bt.train.settings import TrainSettings

_Item = TypeVar("_Item")

_MIRROR_TWIST = np.array([1, -1, -1], np.float32)
_MIRROR_PLACES = np.array([1, -1] * 5, np.float32)
_SHAPES = {
    "frames": (0, 0, 3),
    "elapsed": (),
    "twist": (3,),
    "actions": (CHUNK, 3),
    "stop": (),
    "auxiliary": (AUXILIARY,),
    "known": (AUXILIARY,),
}
"""Of one frame's entry in each array; 0 is any."""
_LATE_START = 0.3
_STRANGE = 0.12
"""Share of sentences that begin with a word nobody knows: people know more verbs than any list."""


@dataclass(frozen=True)
class Sequence:
    """One drive: arrays as in :class:`vla_bt.train.practice.Drive`, where it was told to pass, and through which lens it saw.

    ``fovy_deg`` is as in :class:`vla_bt.camera.lens.Picture`; not a number where the camera was recorded and nobody tells.
    """

    frames: NDArray[np.uint8]
    elapsed: NDArray[np.float32]
    twist: NDArray[np.float32]
    actions: NDArray[np.float32]
    stop: NDArray[np.float32]
    auxiliary: NDArray[np.float32]
    known: NDArray[np.float32]
    side: str
    boxes: int
    fovy_deg: float = 0.0

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stop)


def shards_in(folder: Path) -> list[Path]:
    """Return the shards in a folder, in order; what an interrupted run was writing is none."""
    return sorted(path for path in folder.glob("*.npz") if not path.name.endswith(".tmp.npz"))


def load_sequences(paths: list[Path]) -> list[Sequence]:
    """Read shards that :func:`vla_bt.train.collect.collect_shard` wrote; the pictures stay on the disk until they are needed.

    Raises
    ------
    SettingsError
        With one line, when one of them isn't such a shard.
    """
    found: list[Sequence] = []
    for path in paths:
        try:
            found += _read_shard(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, struct.error) as error:
            words = " ".join(str(error).split())[:200]
            raise SettingsError(f"{path}: not drives that a training run collected: {words}") from None
    return found


def _read_shard(path: Path) -> list[Sequence]:
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError("no archive of arrays")
    with np.load(path, allow_pickle=False) as shard:
        arrays = {name: shard[name] for name in ARRAYS if name != "frames"} | {"frames": _mapped(path, "frames.npy")}
        lengths, sides, boxes = shard["lengths"], shard["sides"], shard["boxes"]
        fovy_deg = float(shard["fovy_deg"]) if "fovy_deg" in shard else 0.0  # older ones
    count = len(arrays["stop"])
    for name, shape in _SHAPES.items():
        array = arrays[name]
        fits = array.ndim == len(shape) + 1 and all(want in (0, size) for want, size in zip(shape, array.shape[1:], strict=True))
        if not fits or len(array) != count or array.dtype != (np.uint8 if name == "frames" else np.float32):
            raise ValueError(f"{name} has the shape {array.shape} and type {array.dtype}")
    if lengths.ndim != 1 or int(lengths.min(initial=0)) < 0 or int(lengths.sum()) != count or count == 0:
        raise ValueError(f"lengths tell {int(lengths.sum())} frames of {count}")
    if set(map(str, sides)) - {"left", "right", ""} or set(map(int, boxes)) - {1, 2}:
        raise ValueError("sides or boxes are none of practice")
    ends = np.cumsum(lengths)
    return [
        Sequence(**{name: array[start:end] for name, array in arrays.items()}, side=str(side), boxes=int(many), fovy_deg=fovy_deg)
        for start, end, side, many in zip(ends - lengths, ends, sides, boxes, strict=True)
    ]


def _mapped(path: Path, member: str) -> NDArray[np.uint8]:
    """Map an array that was stored uncompressed in a shard: a thousand drives would fill a laptop's memory."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member} is compressed")
        file.seek(info.header_offset + 26)  # where the local header tells the lengths of name and extra field
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        return np.memmap(path, kind, "r", file.tell(), shape)


@dataclass
class Lesson:
    """A drive as it is learned from once: sentence, mirrored or not, from which frame on."""

    sequence: Sequence
    sentence: str
    flip: bool
    refuse: bool
    start: int

    @property
    def told(self) -> str:
        """What the sentence asks for: left, right, empty for neither, or to be refused."""
        side = self.sequence.side
        return "refused" if self.refuse else mirrored(side) if self.flip else side

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.sequence) - self.start


@dataclass(frozen=True)
class Batch:
    """One window of several lessons, (batch, time, ...); ``mask`` is 0 where a lesson is over."""

    sentences: list[str]
    told: list[str]
    frames: Tensor
    motion: Tensor
    actions: Tensor
    stop: Tensor
    auxiliary: Tensor
    known: Tensor
    mask: Tensor
    first: bool

    def to(self, device: torch.device) -> Batch:
        """Return it on a device; itself where it is there."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        tensors: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **tensors)


def draw_lessons(sequences: list[Sequence], settings: TrainSettings, rng: np.random.Generator) -> list[list[Lesson]]:
    """Turn all drives into lessons, in groups of about the same length."""
    lessons = []
    for index in rng.permutation(len(sequences)):
        sequence = sequences[int(index)]
        flip, refuse = bool(rng.random() < settings.mirror), bool(rng.random() < settings.refusals)
        sentence = draw_refusal(rng, sequence.boxes) if refuse else draw_sentence(rng, sequence.side, sequence.boxes)
        if not refuse and rng.random() < _STRANGE:
            sentence = with_a_strange_word(rng, sentence)
        late = rng.random() < _LATE_START
        start = int(rng.integers(0, max(1, int(0.6 * len(sequence))))) if late else 0
        lessons.append(Lesson(sequence, mirrored(sentence) if flip else sentence, flip, refuse, start))
    pool = 8 * settings.batch
    groups = []
    for at in range(0, len(lessons), pool):
        part = sorted(lessons[at : at + pool], key=len)
        groups += [part[first : first + settings.batch] for first in range(0, len(part), settings.batch)]
    return [groups[int(index)] for index in rng.permutation(len(groups))]


def windows(group: list[Lesson], window: int, rng: np.random.Generator | None, recolour: float = 0.0) -> Iterator[Batch]:
    """Yield the windows of a group of lessons, in order.

    Parameters
    ----------
    window : int
        Frames of each.
    rng : Generator, optional
        Changes the pictures; None leaves them as they are.
    recolour : float
        Share of the lessons whose pictures get other colours.
    """
    looks = [_Look(rng, recolour) if rng is not None else None for _ in group]
    sentences, told = [lesson.sentence for lesson in group], [lesson.told for lesson in group]
    for start in range(0, max(map(len, group)), window):
        span = min(window, max(map(len, group)) - start)
        parts = [_cut(lesson, start, span) for lesson in group]
        stacked = {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in (*ARRAYS, "mask")}
        frames = stacked.pop("frames").float()
        for index, look in enumerate(looks):
            if look is not None:
                frames[index] = look(frames[index])
        yield Batch(
            sentences=sentences,
            told=told,
            frames=frames,
            motion=torch.cat([stacked["twist"], stacked["twist"] * stacked["elapsed"][..., None] / 0.1], dim=-1),
            actions=stacked["actions"],
            stop=stacked["stop"],
            auxiliary=stacked["auxiliary"],
            known=stacked["known"],
            mask=stacked["mask"],
            first=start == 0,
        )


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield what ``items`` yields, in its order, the next one being made in a thread while the caller is at work on this one.

    Cutting and changing pictures is about a quarter of a step: it is what a second core can take over.
    """
    end = object()
    with ThreadPoolExecutor(1) as maker:
        waiting = maker.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = maker.submit(next, items, end)
            yield cast(_Item, item)


def _cut(lesson: Lesson, start: int, span: int) -> dict[str, NDArray[np.float32]]:
    """Cut one window out of a lesson, filled up with its last frame."""
    sequence = lesson.sequence
    index = np.minimum(np.arange(lesson.start + start, lesson.start + start + span), len(sequence) - 1)
    part = {name: getattr(sequence, name)[index] for name in ARRAYS}
    part["mask"] = (np.arange(start, start + span) < len(lesson)).astype(np.float32)
    if start == 0:
        part["elapsed"][0] = 0.0  # whoever starts late has seen no frame before either
    if lesson.flip:
        part["frames"] = part["frames"][:, :, ::-1]
        part["twist"] = part["twist"] * _MIRROR_TWIST
        part["actions"] = part["actions"] * _MIRROR_TWIST
        part["auxiliary"] = part["auxiliary"] * _MIRROR_PLACES
    if lesson.refuse:
        part["actions"] = np.zeros_like(part["actions"])
        part["stop"] = np.zeros_like(part["stop"])
    return part


class _Look:
    """One way to change pictures: light, colour, softness, grain."""

    def __init__(self, rng: np.random.Generator, recolour: float) -> None:
        self._gain = torch.tensor(np.exp(rng.normal(0.0, 0.2)) * rng.normal(1.0, 0.05, 3), dtype=torch.float32)
        self._offset = float(rng.normal(0.0, 5.0))
        mixed = np.eye(3) + rng.normal(0.0, 0.05, (3, 3))
        self._mix = torch.tensor(mixed, dtype=torch.float32) if rng.random() < 0.3 else None
        if recolour and rng.random() < recolour:
            self._mix = torch.tensor(turned_hue(rng.uniform(-np.pi, np.pi), rng.uniform(0.0, 1.6)), dtype=torch.float32)
        self._softness = float(rng.uniform(0.1, 0.4)) if rng.random() < 0.2 else 0.0
        self._grain = float(rng.uniform(1.0, 10.0)) if rng.random() < 0.25 else 0.0
        self._rng = rng

    def __call__(self, frames: Tensor) -> Tensor:
        """Change frames (time, height, width, 3) of 0..255."""
        if self._mix is not None:
            frames = frames @ self._mix
        frames = frames * self._gain + self._offset
        if self._softness:
            planes = frames.permute(0, 3, 1, 2)
            soft = functional.avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=False).permute(0, 2, 3, 1)
            frames.lerp_(soft, 2 * self._softness)
        if self._grain:
            for frame in frames:
                start = int(self._rng.integers(len(_GRAIN) - frame.numel()))
                frame.add_(_GRAIN[start : start + frame.numel()].view(frame.shape), alpha=self._grain)
        return frames.clamp_(0.0, 255.0)


def turned_hue(angle: float, saturation: float) -> NDArray[np.float64]:
    """Return the matrix (pixels times it) that turns hue about the grey axis and scales what is not grey (Rodrigues' formula)."""
    axis = np.full(3, 1 / np.sqrt(3.0))
    across = np.cross(np.eye(3), axis)
    grey = np.outer(axis, axis)
    return np.asarray(grey + saturation * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across))


# Drawn once: new grain for each frame would take a third of the time that learning takes.
_GRAIN = torch.randn(1 << 21, generator=torch.Generator().manual_seed(0))
