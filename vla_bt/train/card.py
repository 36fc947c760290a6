"""The card that goes with trained weights: what they were made from, how well they do, where they end.

Promises: every figure in it was measured by the run it describes.
"""

from __future__ import annotations

from typing import Any

from vla_bt.train.metrics import WITHIN
from vla_bt.train.settings import TRAIN_SEEDS, VALIDATION_SEEDS


def card(figures: dict[str, Any], command: str) -> str:
    """Return the card as Markdown; ``figures`` as :meth:`vla_bt.train.trainer.Trainer.run` returns them."""
    settings = figures["settings"]
    rounds = figures["rounds"][: figures["chosen_round"] + 1]
    lines = [
        f"# {figures['policy']}",
        "",
        f"{figures['parameters']:,} parameters, trained in the simulator alone. Made by `{command}`.",
        "",
        "## Data",
        "",
        *_data(figures, len(rounds) - 1),
        f"- Scene seeds: training from {TRAIN_SEEDS.start}, validation from {VALIDATION_SEEDS.start}; those below "
        f"{VALIDATION_SEEDS.start} were never seen. Seed of the run: {settings['seed']}.",
        "- Sentences of a grammar; those of validation and test use other patterns of words.",
        "",
        "## Closed loop on validation scenes, without the tree",
        "",
        "| round | nominal | hard | failures |",
        "|---|---|---|---|",
    ]
    for entry in rounds:
        each = entry["trials"] // 2
        failures = ", ".join(f"{reason} {count}" for reason, count in entry["failures"].items()) or "none"
        chosen = " (these weights)" if entry["round"] == figures["chosen_round"] else ""
        lines.append(f"| {entry['round']}{chosen} | {entry['nominal']} of {each} | {entry['hard']} of {each} | {failures} |")
    lines += [
        "",
        "## Error against the expert on validation drives",
        "",
        "Normalised by the declared range; what needs no learning stands below.",
        "",
        "| | MAE | raw | without frame 0 | within 0.1 | R2 forward | R2 sideways | R2 turning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in figures["validation"].items():
        r2 = " | ".join("-" if value is None else f"{value:.2f}" for value in row["r2"].values())
        lines.append(
            f"| {name.replace('_', ' ')} | {row['mae']:.3f} | {row['mae_raw']:.3f} | {row['mae_without_first']:.3f} "
            f"| {row['within']['0.1']:.1%} | {r2} |"
        )
    lines += [
        "",
        "Share of errors below a limit, and correlation with the expert's velocities:",
        "",
        f"|{''.join(f' | within {limit:g}' for limit in WITHIN)} | correlation forward | sideways | turning |",
        "|---" * (4 + len(WITHIN)) + "|",
    ]
    for name, row in figures["validation"].items():
        within = " | ".join(f"{row['within'][f'{limit:g}']:.1%}" for limit in WITHIN)
        correlation = " | ".join("-" if value is None else f"{value:.2f}" for value in row["correlation"].values())
        lines.append(f"| {name.replace('_', ' ')} | {within} | {correlation} |")
    lines += [
        "",
        "## Limits",
        "",
        "- Simulated rooms, boxes and cups only; it has never seen a real camera's picture.",
        "- It knows one kind of destination, the cup, and boxes in the way. Others it was taught to refuse by standing.",
        "- It is no safety device: the tree and the gate limit what it proposes.",
        "",
    ]
    return "\n".join(lines)


def _data(figures: dict[str, Any], rounds: int) -> list[str]:
    """Say what was learned from."""
    settings, first = figures["settings"], figures["first_round"]
    parts = []
    if first["worlds"]:
        parts.append(f"{first['worlds']} worlds driven by the expert, disturbed")
    if first["shards"]:
        parts.append(f"{first['shards']} shards of `{first['data']}`, collected by another run")
    if first["episodes"]:
        parts.append(
            f"{first['episode_drives']} drives of recorded episodes ({', '.join(f'`{path}`' for path in first['episodes'])})"
        )
    lines = [f"- {figures['drives']} drives, {figures['frames']} frames.", f"- First {' and '.join(parts)}."]
    if rounds:
        lines.append(f"- Then {settings['dagger_worlds']} worlds in each of {rounds} rounds driven by the policy itself.")
    if first["worlds"] or rounds:
        lines.append(
            f"- Of the worlds this run drew, {settings['hard_share']:.0%} under hard conditions (`HARD` in "
            "`vla_bt/sim/scenes.py`, and pushes). All their labels are the expert's, which knows the truth."
        )
    return lines
