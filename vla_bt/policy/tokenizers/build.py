"""Make the two small tokenizers that presets without downloaded weights use: ``python -m vla_bt.policy.tokenizers.build``.

Promises: ``clip.json`` (byte-level BPE, as CLIP's) and ``kosmos.json`` (unigram, as Kosmos-2's XLM-RoBERTa) depend on
``sentences.txt`` beside this file and on nothing else; special words have the numbers the two text models expect.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
CLIP_WORDS = 1024
_CLIP_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def sentences() -> list[str]:
    """Return the sentences both tokenizers are made from."""
    return (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines()


def build_clip() -> str:
    """Return CLIP's kind of tokenizer as JSON; its last two words are start and end of text."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer = Tokenizer(BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_CLIP_SPLIT), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Every byte alone and at a word's end, so that any text in any script has words.
    trainer = BpeTrainer(
        vocab_size=CLIP_WORDS - 2,
        initial_alphabet=alphabet,
        special_tokens=[f"{letter}</w>" for letter in alphabet],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    vocabulary, merges = _bpe_parts(tokenizer.to_str())
    vocabulary[start], vocabulary[end] = len(vocabulary), len(vocabulary) + 1
    tokenizer.model = BPE(
        vocabulary, merges, unk_token=end, end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False
    )
    clean = Tokenizer(tokenizer.model)
    clean.normalizer, clean.pre_tokenizer, clean.decoder = tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder
    clean.add_special_tokens([AddedToken(start, special=True), AddedToken(end, special=True)])
    clean.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    return str(clean.to_str(pretty=True))


def _bpe_parts(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(text)["model"]
    return dict(model["vocab"]), [(left, right) for left, right in model["merges"]]


def build_kosmos() -> str:
    """Return Kosmos-2's kind of tokenizer as JSON: <s> 0, <pad> 1, </s> 2, <unk> 3, as its text model expects."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(Unigram([(word, 0.0) for word in specials] + _unigram_pieces(), unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return str(tokenizer.to_str(pretty=True))


def _unigram_pieces() -> list[tuple[str, float]]:
    """Whole words, and fragments that at least three words share, with the logarithm of their share of the text.

    Counted here because the library's own trainer is meant for large texts: on a few hundred lines it cuts even
    "left" into letters, and its scores differ in the last digit from run to run.
    """
    words = Counter("▁" + word for line in sentences() for word in re.findall(r"[a-z]+|[0-9]", line.lower()))
    counts: Counter[str] = Counter()
    users: Counter[str] = Counter()
    for word, count in words.items():
        fragments = [word[i:j] for i in range(len(word)) for j in range(i + 1, min(i + 6, len(word)) + 1)]
        counts.update({fragment: number * count for fragment, number in Counter(fragments).items()})
        users.update(set(fragments))
    kept = {piece: count for piece, count in counts.items() if users[piece] >= 3 and piece not in words} | dict(words)
    for code in range(33, 127):
        kept.setdefault(chr(code), 1)
    total = sum(kept.values())
    return sorted(
        ((piece, round(math.log(count / total), 6)) for piece, count in kept.items()), key=lambda pair: (-pair[1], pair[0])
    )


def main() -> None:
    """Write both files."""
    for name, make in (("clip", build_clip), ("kosmos", build_kosmos)):
        path = HERE / f"{name}.json"
        path.write_text(make() + "\n", encoding="utf-8")
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
