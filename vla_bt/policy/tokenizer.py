"""Goal text to token numbers, the same way for shipped, local and downloaded tokenizers.

Promises: no text is refused or grows without bound (it is cut to the model's length, its end mark kept); ``digest`` changes
whenever the tokenizer does, so that text features cached under it can't be mixed up; saved and loaded as one JSON file.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from vla_bt.policy.source import locate
from vla_bt.settings import SettingsError


class GoalTokenizer:
    """A tokenizer of one text model.

    Parameters
    ----------
    text : str
        The tokenizer in the JSON form of the ``tokenizers`` library.
    where : str
        Where it came from, for messages.
    max_tokens : int
        Longer texts are cut to this.
    """

    def __init__(self, text: str, where: str, max_tokens: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise SettingsError(f"{where}: not a tokenizer: {' '.join(str(error).split())}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.digest = hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()
        self.vocabulary = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        empty = self._tokenizer.encode("").ids
        if len(empty) < 2:
            raise SettingsError(f"{where}: the tokenizer does not mark start and end of a text")
        self.start, self.end = empty[0], empty[-1]
        pad = self._tokenizer.token_to_id("<pad>")
        self.pad = self.end if pad is None else pad

    @classmethod
    def shipped(cls, name: str, max_tokens: int) -> GoalTokenizer:
        """Return one of the package's own tokenizers: ``clip`` or ``kosmos``."""
        path = Path(str(importlib.resources.files("vla_bt.policy.tokenizers"))) / f"{name}.json"
        return cls.from_file(path, max_tokens)

    @classmethod
    def from_file(cls, path: Path, max_tokens: int) -> GoalTokenizer:
        """Read a tokenizer's JSON file."""
        try:
            return cls(path.read_text(encoding="utf-8"), str(path), max_tokens)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: no tokenizer can be read there: {error}") from None

    @classmethod
    def from_source(cls, source: str, revision: str, max_tokens: int) -> GoalTokenizer:
        """Read the tokenizer that belongs to a model folder or hub name."""
        from transformers import AutoTokenizer

        place = locate(source, revision)
        try:
            fast = AutoTokenizer.from_pretrained(place.name, revision=place.revision, trust_remote_code=False, use_fast=True)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{source}: no tokenizer can be read there: {' '.join(str(error).split())[:300]}") from None
        if not hasattr(fast, "backend_tokenizer"):
            raise SettingsError(f"{source}: its tokenizer has no tokenizer.json")
        return cls(fast.backend_tokenizer.to_str(), source, max_tokens)

    def limited(self, max_tokens: int) -> GoalTokenizer:
        """Return the same tokenizer cutting at another length."""
        return GoalTokenizer(self._tokenizer.to_str(), "tokenizer", max_tokens)

    def save(self, path: Path) -> None:
        """Write the tokenizer as one JSON file."""
        path.write_text(self._tokenizer.to_str(), encoding="utf-8")

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Turn texts into padded token numbers.

        Returns
        -------
        ids, mask : Tensor of int64, shape (len(texts), longest)
            ``mask`` is 1 where a token is, 0 where padding is.
        """
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        ids = torch.full((len(rows), max(map(len, rows))), self.pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask
