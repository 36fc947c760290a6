"""Writing weights: tensor by tensor, aligned for mapping, there whole or not at all.

Promises: never more than one tensor's copy in memory, so that a model larger than memory can be converted; space is checked
first; a failure leaves nothing behind and keeps what was there. The file is plain safetensors; large tensors start at multiples
of 64 bytes, so that a mapped model computes bit for bit what a copied one does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_bt.policy.alignment import ALIGNMENT
from vla_bt.policy.stored import as_bytes
from vla_bt.settings import SettingsError

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a file; ``dtype`` is what floating ones become.

    Raises
    ------
    OSError
        When it can't be written.
    """
    kinds = {name: dtype if dtype and tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
    sizes = {name: tensor.numel() * kinds[name].itemsize for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: sizes[name] % ALIGNMENT != 0)
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name in order:
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _NAMES[kinds[name]], "shape": shape, "data_offsets": [end, end + sizes[name]]}
        end += sizes[name]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    _check_space(path, end + len(text))
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(as_bytes(tensors[name].to(kinds[name])))
        file.flush()
        os.fsync(file.fileno())


def _check_space(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise SettingsError(f"{path.parent}: {size / 1e9:.2f} GB are needed there, {free / 1e9:.2f} GB are free")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write to; on success it takes the place of ``path``, otherwise it goes away."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        yield fresh
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: can't be written: {error.strerror or error}") from None
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Give a new folder to fill; on success it takes the place of ``folder``, otherwise it goes away.

    Parameters
    ----------
    mark : str
        File that tells a folder of this kind; one that is not empty and lacks it is never replaced.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if folder.exists() and not (folder / mark).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder}: exists and is not a policy's folder; choose another")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise SettingsError(f"{folder}: can't be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
