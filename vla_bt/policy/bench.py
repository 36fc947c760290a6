"""How long a step takes, where the time goes, and how far that is from what this machine could do.

Promises: a GPU is waited for before the clock is read; warm-up is kept apart; whole steps are timed as they drive, the split in
a pass of its own through the same modules; the bound is measured before and after, and a time below it is called impossible.
``versus_naive`` takes turns between the rungs, so that a busy moment meets them all.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vla_bt.policy.bound import Machine, Work, measure, work_of
from vla_bt.policy.compare import pictures
from vla_bt.policy.naive import WINDOW, NaivePolicy, has_places
from vla_bt.policy.preprocess import motion_of, normalised, views_of
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.shrinking import module_numbers
from vla_bt.policy.step import NetworkStep
from vla_bt.words import Twist

PARTS = ("preprocess", "copies", "vision", "fusion", "memory", "head", "text")
DOCUMENT = "the document's forward"
MEASURED = Twist(0.2, 0.0, 0.1)
_FRAME_PERIOD_S = 0.2


@dataclass
class Bench:
    """What was measured; times in seconds.

    Attributes
    ----------
    steps : list of float
        Whole steps, as they drive.
    processor : list of float
        Processor time of the same steps, all threads together: other work on the machine is not in it.
    parts : dict of str to list of float
        The split; ``text`` is what a new goal costs, once.
    work : dict of str to Work
        What a frame asks of each stage.
    machine : Machine
        What was measured of the machine.
    stored_parameters : int
        Numbers in the whole network.
    finite : bool
        Every action was a number.
    """

    name: str
    precision: str
    steps: list[float]
    processor: list[float]
    parts: dict[str, list[float]]
    work: dict[str, Work]
    machine: Machine
    stored_parameters: int
    finite: bool = True
    rungs: list[tuple[str, float]] = field(default_factory=list)

    @property
    def bound_s(self) -> float:
        """Least time for the network's part of a step on this machine [s]."""
        return self.machine.bound_s(self.work)

    @property
    def p50_s(self) -> float:
        """Median step [s]."""
        return float(np.median(self.steps))

    @property
    def possible(self) -> bool:
        """The median step is not below the bound."""
        return self.p50_s >= self.bound_s


def percentiles(times: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    return {f"p{share}": 1e3 * float(np.percentile(times, share)) for share in (50, 95, 99)}


def bench(policy: NetworkPolicy, goal: str, repeats: int, warm_up: int) -> Bench:
    """Measure a policy.

    Parameters
    ----------
    repeats : int
        Timed steps, and again as many for the split.
    warm_up : int
        Steps before, not counted.
    """
    frames = pictures(8, policy.info.frame_height, policy.info.frame_width)
    policy.reset(goal)
    clock = _Frames(frames)
    work = work_of(policy, lambda: policy.step(*clock.next(), MEASURED))
    weight_bytes = sum(part.weight_bytes for part in work.values())
    before = measure(policy, weight_bytes)
    for _ in range(warm_up):
        policy.step(*clock.next(), MEASURED)
    steps, processor = [], []
    taken: list[NetworkStep] = []
    for _ in range(repeats):
        busy = time.process_time()
        steps.append(_timed(policy, lambda: taken.append(policy.step(*clock.next(), MEASURED))))
        processor.append(time.process_time() - busy)
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(repeats):
        for part, seconds in staged_step(policy, clock.next()[0])[1].items():
            parts[part].append(seconds)
    for _ in range(min(repeats, 10)):
        policy.forget()
        parts["text"].append(_timed(policy, lambda: policy.reset(goal)))
    machine = before.best(measure(policy, weight_bytes))
    network = policy.network
    precision = "int8" if policy.eight_bit else str(network.dtype).removeprefix("torch.")
    stored = sum(module_numbers(module) for module in network.modules())
    return Bench(policy.info.name, precision, steps, processor, parts, work, machine, stored, all(step.finite for step in taken))


class _Frames:
    """Hands out frames in turn, each with its time."""

    def __init__(self, frames: list[NDArray[np.uint8]]) -> None:
        self._frames, self._count = frames, 0

    def next(self) -> tuple[NDArray[np.uint8], float]:
        """Return the next frame and its time [s]."""
        self._count += 1
        return self._frames[self._count % len(self._frames)], self._count * _FRAME_PERIOD_S


def _synchronise(policy: NetworkPolicy) -> None:
    if policy.network.device.type == "cuda":
        torch.cuda.synchronize(policy.network.device)


def _timed(policy: NetworkPolicy, call: Callable[[], Any]) -> float:
    _synchronise(policy)
    started = time.perf_counter()
    call()
    _synchronise(policy)
    return time.perf_counter() - started


def staged_step(policy: NetworkPolicy, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Take a step in its parts, from an empty memory; returns the actions before limiting, (chunk, action_dim), and the times."""
    network, text = policy.network, policy.text_features()
    times: dict[str, float] = {}
    with torch.inference_mode():

        def part(name: str, call: Callable[[], Any]) -> Any:
            found: list[Any] = []
            times[name] = times.get(name, 0.0) + _timed(policy, lambda: found.append(call()))
            return found[0]

        moving = torch.tensor([motion_of(MEASURED, 0.0)])
        views = part("preprocess", lambda: views_of(frame, policy.config)[None])
        views, motion = part("copies", lambda: (policy.uploaded(views), policy.uploaded(moving)))
        pixels = part("preprocess", lambda: normalised(views, network.dtype))
        features = part("vision", lambda: dict(network.encoders.image(pixels)))
        features |= {**text, "measured_twist": motion.to(network.dtype)}
        fused = part("fusion", lambda: network.fusion(features)[None])
        remembered = part("memory", lambda: network.memory(fused, ())[0])
        actions = part("head", lambda: network.head(remembered)[0])
        result = part("copies", lambda: actions[0, 0].float().cpu().numpy())
    return result, times


def versus_naive(
    make: Callable[[str], NetworkPolicy], goal: str, repeats: int, precisions: tuple[str, ...]
) -> list[tuple[str, float]]:
    """Return (rung, median seconds of a frame) from the document's forward to ours, and RoboVLMs' window.

    Parameters
    ----------
    make : callable
        Returns the policy anew, shrunk as the text it is given says.
    precisions : tuple of str
        Further rungs: our step at these precisions.
    """
    found = _rungs_in_turn(make(""), goal, repeats)
    for precision in precisions:
        gc.collect()
        found.append((f"our step in {precision}", _median_step(make(precision), goal, repeats)))
    return found


def _rungs_in_turn(policy: NetworkPolicy, goal: str, repeats: int) -> list[tuple[str, float]]:
    frames = pictures(WINDOW, policy.info.frame_height, policy.info.frame_width)
    policy.reset(goal)
    clock = _Frames(frames)
    document = NaivePolicy(policy, goal)
    cached = NaivePolicy(policy, goal, cached_text=True)
    prepared = NaivePolicy(policy, goal, cached_text=True, own_preprocess=True)
    rungs: dict[str, Callable[[], Any]] = {f"{WINDOW}-frame window, all anew": lambda: document.step(frames, MEASURED)}
    if has_places(policy):
        whole = NaivePolicy(policy, goal, places=True)
        rungs["Kosmos-2's own call"] = lambda: whole.step(clock.next()[:1], MEASURED)
    rungs |= {
        DOCUMENT: lambda: document.step(clock.next()[:1], MEASURED),
        "+ text encoded once": lambda: cached.step(clock.next()[:1], MEASURED),
        "+ one preprocess": lambda: prepared.step(clock.next()[:1], MEASURED),
        "+ recurrent path = our step": lambda: policy.step(*clock.next(), MEASURED),
    }
    times: dict[str, list[float]] = {name: [] for name in rungs}
    for turn in range(repeats + 1):
        for name, call in rungs.items():
            seconds = _timed(policy, call)
            if turn:  # the first turn warms up
                times[name].append(seconds)
    return [(name, float(np.median(values))) for name, values in times.items()]


def _median_step(policy: NetworkPolicy, goal: str, repeats: int) -> float:
    clock = _Frames(pictures(WINDOW, policy.info.frame_height, policy.info.frame_width))
    policy.warm_up()
    policy.reset(goal)
    return float(np.median([_timed(policy, lambda: policy.step(*clock.next(), MEASURED)) for _ in range(repeats)]))


def as_dict(result: Bench) -> dict[str, Any]:
    """Return ``result`` (what is reproducible) and ``timing`` (what is not)."""
    work = {stage: vars(part) for stage, part in result.work.items()}
    counted = {"policy": result.name, "precision": result.precision, "stored_parameters": result.stored_parameters}
    touched = sum(part.parameters for part in result.work.values())
    counted |= {"touched_parameters": touched, "steps": len(result.steps), "finite": result.finite, "work": work}
    timing = {
        "step_ms": percentiles(result.steps),
        "processor_ms": percentiles(result.processor),
        "parts_ms": {part: percentiles(times) for part, times in result.parts.items() if times},
        "bytes_per_s": result.machine.bytes_per_s,
        "flops_per_s": result.machine.flops_per_s,
        "bound_ms": 1e3 * result.bound_s,
        "times_the_bound": result.p50_s / result.bound_s,
        "possible": result.possible,
        "rungs_ms": {name: 1e3 * seconds for name, seconds in result.rungs},
    }
    return {"result": counted, "timing": timing}


def as_text(result: Bench) -> str:
    """Return the measurement as a person reads it."""
    whole = percentiles(result.steps)
    touched = sum(part.parameters for part in result.work.values())
    size = sum(part.weight_bytes for part in result.work.values())
    flops = sum(part.flops for part in result.work.values())
    lines = [
        f"{result.name}, {result.precision}, {len(result.steps)} steps after warm-up, {torch.get_num_threads()} threads",
        f"{'':<14}{'p50':>10}{'p95':>10}{'p99':>10}   ms",
        f"{'step':<14}" + "".join(f"{value:>10.2f}" for value in whole.values()),
        f"{'on processors':<14}" + "".join(f"{value:>10.2f}" for value in percentiles(result.processor).values()),
    ]
    for part, times in result.parts.items():
        if times:
            lines.append(f"  {part:<12}" + "".join(f"{value:>10.2f}" for value in percentiles(times).values()))
    lines += [
        "text is paid once a goal, not in a step",
        f"touched in a frame: {touched / 1e6:.1f} M of {result.stored_parameters / 1e6:.1f} M numbers, {size / 1e6:.1f} MB, "
        f"{flops / 1e9:.2f} GFLOP",
        f"this machine, measured: {result.machine.bytes_per_s / 1e9:.1f} GB/s, {result.machine.flops_per_s / 1e9:.1f} GFLOP/s "
        f"-> bound {1e3 * result.bound_s:.2f} ms",
    ]
    if result.possible:
        lines.append(f"the median step takes {result.p50_s / result.bound_s:.2f} times the bound")
    else:
        lines.append("IMPOSSIBLE: the median step is below the bound; do not believe this measurement")
    if not result.finite:
        lines.append("NOT FINITE: some actions are no numbers; these weights can't drive")
    if result.rungs:
        lines.append("")
        naive = dict(result.rungs).get(DOCUMENT, 0.0)
        window = result.rungs[0][1]
        lines.append(f"{'rung':<30}{'ms a frame':>12}{'gain':>8}{'over window':>14}")
        for name, seconds in result.rungs:
            lines.append(f"{name:<30}{1e3 * seconds:>12.2f}{naive / seconds:>7.2f}x{window / seconds:>13.2f}x")
    return "\n".join(lines)
