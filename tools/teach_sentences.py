"""Teach a policy's text side more ways to say the same, and leave how it drives as it is.

    .venv/bin/python tools/teach_sentences.py runs/train/small-cnn/best runs/train/worded

The text encoders learn to give, for any sentence of the practice grammar, the features that the policy's own weights give for
that meaning's plainest sentence; for words that lead nowhere, those of a sentence on which it stands. All other weights stay, so
what was learned of pictures and driving can't be lost. It prints
the share of sentences of each split nearest to the right meaning.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import WEIGHTS, load_policy
from vla_bt.settings import SettingsError
from vla_bt.train.sentences import SPLITS, draw_refusal, draw_sentence, with_a_strange_word

STANDS = "banana green seven"
"""The sentence whose features mean: stand."""
MEANINGS = {
    ("left", 1): "go around the box on the left to the cup",
    ("right", 1): "go around the box on the right to the cup",
    ("left", 2): "go around the boxes on the left to the cup",
    ("right", 2): "go around the boxes on the right to the cup",
    ("", 1): "go to the cup",
    ("refuse", 1): STANDS,
}
NAMES = list(MEANINGS)
REFUSED, STRANGE, UNTOLD = 0.3, 0.15, 0.07
"""Shares of sentences that lead nowhere, hold a made-up word, and tell no side."""
TEXT_PARTS = ("goal.", "kosmos.text_model.", "clip.text_model.", "clip.text_projection.")


def main() -> int:
    """Teach; exit code 2 for what can't be read or written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path, help="folder of a policy")
    parser.add_argument("out", type=Path, help="folder to write; must not be there")
    parser.add_argument("--steps", type=int, default=6000, help="batches of 128 sentences (default %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=3e-3, help="of learning at its highest; transformers want less (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sentences (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    try:
        policy = load_policy(options.policy)
        if options.out.exists():
            raise SettingsError(f"{options.out}: is there already; name a new folder")
        with torch.no_grad():
            wanted = features(policy, list(MEANINGS.values())).clone()
        teach(policy, wanted, options.steps, options.rate, options.seed)
        for split in SPLITS:
            print(f"{split:>10}: {share_understood(policy, wanted, split):.1%} of 1000 sentences")
        write(policy, options.policy, options.out)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or options.policy}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def features(policy: NetworkPolicy, sentences: list[str]) -> Tensor:
    """Return all text features side by side, (sentences, width)."""
    tokens = {name: tokenizer.encode(sentences) for name, tokenizer in policy.tokenizers.items()}
    found = policy.network.encoders.text(tokens)
    return torch.cat([found[name] for name in sorted(found)], dim=-1)  # type: ignore[arg-type]


def draw(rng: np.random.Generator, split: str) -> tuple[str, int]:
    """Draw a sentence and the index of its meaning."""
    boxes = 1 + int(rng.random() < 0.5)
    if rng.random() < REFUSED:
        return draw_refusal(rng, boxes), NAMES.index(("refuse", 1))
    side = "" if rng.random() < UNTOLD else ("left", "right")[int(rng.random() < 0.5)]
    sentence = draw_sentence(rng, side, boxes, split)
    if split == "train" and rng.random() < STRANGE:
        sentence = with_a_strange_word(rng, sentence)
    return sentence, NAMES.index((side, boxes if side else 1))


def teach(policy: NetworkPolicy, wanted: Tensor, steps: int, rate: float, seed: int) -> None:
    """Move the text side's weights, in place, towards the meanings' features."""
    spread = float(wanted.var(0).mean())
    trained = [value for name, value in policy.network.encoders.named_parameters() if name.startswith(TEXT_PARTS)]
    for value in policy.network.parameters():
        value.requires_grad_(False)
    for value in trained:
        value.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    rng, began = np.random.default_rng(seed), time.monotonic()
    for step in range(steps):
        drawn = [draw(rng, "train") for _ in range(128)]
        target = wanted[torch.tensor([meaning for _, meaning in drawn])]
        loss = (features(policy, [sentence for sentence, _ in drawn]) - target).square().mean() / spread
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            print(
                f"{time.monotonic() - began:6.0f} s  step {step + 1} of {steps}: {loss.item():.4f}", file=sys.stderr, flush=True
            )
    policy.network.requires_grad_(False)


@torch.no_grad()
def share_understood(policy: NetworkPolicy, wanted: Tensor, split: str) -> float:
    """Return the share of sentences nearest to the features of the right meaning."""
    rng = np.random.default_rng(1)
    drawn = [draw(rng, split) for _ in range(1000)]
    nearest = torch.cdist(features(policy, [sentence for sentence, _ in drawn]), wanted).argmin(1).tolist()
    asked = [NAMES[meaning][0] for _, meaning in drawn]  # one box or two is seen, not told
    return sum(NAMES[at][0] == side for at, side in zip(nearest, asked, strict=True)) / len(drawn)


def write(policy: NetworkPolicy, source: Path, out: Path) -> None:
    """Copy the folder with the new weights, without its card."""
    before = load_file(source / WEIGHTS)
    with safe_open(source / WEIGHTS, "pt") as file:
        told = file.metadata()
    now = policy.network.state_dict()
    shutil.copytree(source, out)
    save_file({name: now[name].contiguous() for name in before}, out / WEIGHTS, told)
    (out / "card.md").unlink(missing_ok=True)  # its figures are not these weights'


if __name__ == "__main__":
    sys.exit(main())
