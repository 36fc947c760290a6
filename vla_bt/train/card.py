"""The card that goes with trained weights: what they were made from, how well they do, where they end.

Promises: every figure in it was measured by the run it describes.
"""

from __future__ import annotations

from typing import Any

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
        f"- {figures['drives']} drives, {figures['frames']} frames, {settings['hard_share']:.0%} of the worlds under hard "
        "conditions (`HARD` in `vla_bt/sim/scenes.py`, and pushes).",
        f"- First {settings['worlds']} worlds driven by the expert, disturbed; then {settings['dagger_worlds']} worlds in each "
        f"of {len(rounds) - 1} rounds driven by the policy itself. All labels are the expert's, which knows the truth.",
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
        "## Limits",
        "",
        "- Simulated rooms, boxes and cups only; it has never seen a real camera's picture.",
        "- It knows one kind of destination, the cup, and boxes in the way. Others it was taught to refuse by standing.",
        "- It is no safety device: the tree and the gate limit what it proposes.",
        "",
    ]
    return "\n".join(lines)
