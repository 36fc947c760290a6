"""Average the weights of a policy and of one that was taught further from it.

    .venv/bin/python tools/average_policies.py runs/train/before/best runs/train/after/best runs/train/both

What was learned last is often paid for elsewhere (sentences, say); halfway between the two most of both is there. Everything but
the weights is the second policy's. Measure the result before it drives anything.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vla_bt.policy.saved import WEIGHTS


def main() -> int:
    """Average; exit code 2 when the two don't fit or the folder is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder of a policy")
    parser.add_argument("second", type=Path, help="folder of one that was taught further from it")
    parser.add_argument("out", type=Path, help="folder to write; must not be there")
    parser.add_argument("--share", type=float, default=0.5, help="of the second (default %(default)s)")
    options = parser.parse_args()
    try:
        before, after = (load_file(folder / WEIGHTS) for folder in (options.first, options.second))
        if {name: tensor.shape for name, tensor in before.items()} != {name: tensor.shape for name, tensor in after.items()}:
            print(f"{options.first} and {options.second}: not the same network", file=sys.stderr)
            return 2
        with safe_open(options.second / WEIGHTS, "pt") as file:
            told = file.metadata()
        shutil.copytree(options.second, options.out)
    except OSError as error:
        print(f"{error.filename or options.first}: {error.strerror or error}", file=sys.stderr)
        return 2
    mixed = {name: before[name].lerp(after[name], options.share).contiguous() for name in before}
    save_file(mixed, options.out / WEIGHTS, told)
    (options.out / "card.md").unlink(missing_ok=True)  # its figures are not these weights'
    return 0


if __name__ == "__main__":
    sys.exit(main())
