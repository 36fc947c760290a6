"""Weights as they lie in a file or folder: mapped, never executed.

Promises: a ``.pth`` is read with torch's restricted unpickler, to which only ``argparse.Namespace`` and numpy's plain numbers are
added (training scripts store their arguments and errors); any other object in it is refused by name. Tensors are mapped from the
file, so opening 7 GB takes a moment and no memory. What is cut short, damaged or of another kind is one line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vla_bt.policy.source import locate
from vla_bt.settings import SettingsError

BASES = "vla_bt_bases"
"""Entry of a safetensors file's metadata: which weights were left out because a base model has them."""

_ZIP, _OLD_PICKLE = b"PK\x03\x04", b"\x80\x02"
_NAMED_OBJECT = re.compile(r"GLOBAL ([\w.]+)")
# What a training script stores beside weights: its arguments, and errors averaged by numpy.
_SCALAR = type(np.float64(0.0)).__reduce__(np.float64(0.0))[0]
_HARMLESS: list[Any] = [
    argparse.Namespace,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.bool_)},
]


@dataclass(frozen=True)
class Stored:
    """What a file or folder holds.

    Attributes
    ----------
    tensors : dict of str to Tensor
        The model's weights, mapped; in the file's order.
    kind : str
        ``pth``, ``safetensors``, or ``folder``.
    section : str
        Entry of the ``.pth`` the weights were found under, empty for the whole of it.
    optimizer_bytes : int
        Bytes of optimizer state beside them.
    others : dict
        What else is there, in words.
    bases : list of dict
        The bases whose weights were added; see :func:`with_bases`.
    """

    path: Path
    tensors: dict[str, Tensor]
    kind: str
    section: str = ""
    optimizer_bytes: int = 0
    others: dict[str, str] = field(default_factory=dict)
    bases: list[dict[str, Any]] = field(default_factory=list)


def open_weights(path: Path) -> Stored:
    """Open a ``.pth``/``.pt``/``.bin``, a ``.safetensors``, or a folder with safetensors in it.

    Raises
    ------
    SettingsError
        With one line, when it is absent, damaged, holds objects that are no weights, or no weights at all.
    """
    if path.is_dir():
        parts = [_open_safetensors(file) for file in _files_of(path)]
        tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
        return Stored(path, tensors, "folder", bases=[base for part in parts for base in part.bases])
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    if not start:
        raise SettingsError(f"{path}: the file is empty")
    if start.startswith(_ZIP):
        return _open_pth(path)
    if start.startswith(_OLD_PICKLE):
        raise SettingsError(f"{path}: a pickle of torch before 1.6, which can't be read safely; save it again with a newer torch")
    if len(start) == 9 and start[8:9] == b"{":
        return _open_safetensors(path)
    raise SettingsError(f"{path}: neither a torch checkpoint (.pth) nor .safetensors, or damaged at its start")


def _files_of(folder: Path) -> list[Path]:
    """Return the weight files of a folder: those its index names, else ``model.safetensors``, else all."""
    files = sorted(folder.glob("*.safetensors"))
    for index in sorted(folder.glob("*.safetensors.index.json"))[:1]:
        try:
            names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise SettingsError(f"{index}: can't be read as an index of weight files") from None
        there = {file.name for file in files}
        if missing := sorted(names - there):
            raise SettingsError(f"{folder}: {missing[0]!r} is not there, which {index.name} names")
        return [file for file in files if file.name in names]
    if not files:
        raise SettingsError(f"{folder}: the folder holds no .safetensors file")
    whole = [file for file in files if file.name == "model.safetensors"]
    return whole or files


def _checked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Refuse what can't be mapped, compared and written like any weight, and names that would garble a screen."""
    for name, tensor in tensors.items():
        if not name.isprintable():
            raise SettingsError(f"{path}: a weight is called {name!r}, which is no name")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            kind = "without values" if tensor.is_meta else f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
            raise SettingsError(f"{path}: {name} is {kind}; expected plain numbers")
    return tensors


def check_sums(path: Path) -> None:
    """Compare the sums stored in a ``.pth`` with its content; mapping it does not look at them.

    Raises
    ------
    SettingsError
        When one differs.
    """
    with path.open("rb") as file:
        if not file.read(4).startswith(_ZIP):
            return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise SettingsError(f"{path}: cut short or damaged ({error})") from None
    if bad:
        raise SettingsError(f"{path}: damaged: the content of {bad!r} does not match its checksum")


def _open_pth(path: Path) -> Stored:
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in the file is said below, in our words
            content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # the reader raises RuntimeError, UnpicklingError, EOFError, KeyError, ...
        text = " ".join(str(error).split())
        named = _NAMED_OBJECT.search(text)
        if named:
            raise SettingsError(f"{path}: holds {named[1]}, which is code and not weights; refused without running it") from None
        if isinstance(error, OSError) or "central directory" in text or "not a ZIP" in text or "PytorchStreamReader" in text:
            raise SettingsError(f"{path}: cut short or damaged ({text.partition('. ')[0][:120]})") from None
        raise SettingsError(f"{path}: refused: {text[:200]}") from None
    section, tensors = _state_dict(content)
    if not tensors:
        raise SettingsError(f"{path}: holds no weights (no dictionary of tensors in it)")
    others, optimizer_bytes = {}, 0
    if section or not isinstance(content, dict):
        for name, value in content.items() if isinstance(content, dict) else ():
            size = _tensor_bytes(value)
            if name == section:
                continue
            if size and "optim" in str(name).lower():
                optimizer_bytes += size
            else:
                others[_in_words(name, 0)] = _in_words(value, size)
    return Stored(path, _checked(path, tensors), "pth", section, optimizer_bytes, others)


def _state_dict(content: Any) -> tuple[str, dict[str, Tensor]]:
    """Return the section with the most weights that is no optimizer's, and its name."""
    candidates: list[tuple[str, Any]] = [("", content)]
    if isinstance(content, dict):
        candidates += [(str(name), value) for name, value in content.items() if "optim" not in str(name).lower()]
    best: tuple[str, dict[str, Tensor]] = ("", {})
    for name, value in candidates:
        if not isinstance(value, Mapping):
            continue
        tensors = {str(key): tensor for key, tensor in value.items() if isinstance(tensor, Tensor)}
        if _tensor_bytes(tensors) > _tensor_bytes(best[1]):
            best = (name, tensors)
    return best


def _tensor_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes if value.layout == torch.strided else value.numel() * value.itemsize
    if isinstance(value, Mapping):
        return sum(_tensor_bytes(part) for part in value.values())
    return sum(_tensor_bytes(part) for part in value) if isinstance(value, list | tuple) else 0


def _in_words(value: Any, size: int) -> str:
    if size:
        return f"tensors, {size / 1e6:.1f} MB"
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(value).split()))
    return text if len(text) <= 160 else f"{text[:157]}..."


def _open_safetensors(path: Path) -> Stored:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"{path}: no weights can be read there: {error}") from None
    # The library hands weights out sorted by where they lie.
    others = {_in_words(name, 0): _in_words(text, 0) for name, text in metadata.items() if name not in ("format", BASES)}
    try:
        bases = json.loads(metadata.get(BASES, "[]"))
        bases = [{key: base[key] for key in ("prefix", "source", "revision", "sha256", "names")} for base in bases]
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{path}: its metadata names base models in a way that can't be read") from None
    return Stored(path, with_bases(path, _checked(path, tensors), bases), "safetensors", others=others, bases=bases)


def with_bases(path: Path, tensors: dict[str, Tensor], bases: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Add the weights that were left out of a slim file, from the models they are equal to, verified.

    Parameters
    ----------
    bases : list of dict
        ``prefix`` of the names here, ``source`` and ``revision`` of the model, ``names`` of what was left out (in the base's
        own words) and the ``sha256`` of its bytes.
    """
    whole = dict(tensors)
    for base in bases:
        there = open_base(base["source"], base["revision"])
        missing = [name for name in base["names"] if name not in there]
        if missing:
            raise SettingsError(f"{path}: needs {missing[0]} of {base['source']}, which no longer has it")
        if digest_of(there[name] for name in base["names"]) != base["sha256"]:
            raise SettingsError(f"{path}: {base['source']} is not the model it was slimmed against; its weights differ")
        whole |= {base["prefix"] + name: there[name] for name in base["names"]}
    return whole


def open_base(source: str, revision: str) -> dict[str, Tensor]:
    """Map the weights of a pretrained model, a local folder or a hub name at a pinned commit, under its own names."""
    place = locate(source, revision)
    if place.revision is None:
        return open_weights(Path(place.name)).tensors
    from transformers.utils import cached_file

    try:
        file = cached_file(place.name, "model.safetensors", revision=place.revision)
    except OSError as error:
        raise SettingsError(f"{source}: its weights can't be had: {' '.join(str(error).split())[:300]}") from None
    return open_weights(Path(str(file))).tensors


def digest_of(tensors: Any) -> str:
    """Return the SHA-256 of tensors' bytes one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(as_bytes(tensor))
    return digest.hexdigest()


def as_bytes(tensor: Tensor) -> memoryview:
    """Return a contiguous tensor's own bytes, not copied."""
    flat = tensor.contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())
