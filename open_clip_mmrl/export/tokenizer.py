"""open_clip's tokenizers as `tokenizer.json` of the `tokenizers` library, which needs no torch.

What such a file cannot hold: repairs of damaged Unicode (ftfy) and of HTML entities; open_clip's
reduction masks; Hugging Face tokenizers whose ids open_clip changes afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""SimpleTokenizer's pattern, without its special tokens."""
_QUOTES = [
    {"type": "Replace", "pattern": {"Regex": curly}, "content": straight}
    for curly, straight in (("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'))
]
"""Of what ftfy repairs, the part that names of classes have."""
_SPACES = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
_STRIP = {"type": "Strip", "strip_left": True, "strip_right": True}
_LOWER = {"type": "Lowercase"}
_CLEAN: dict[str, list[dict[str, Any]]] = {
    "_clean_lower": [_SPACES, _STRIP, _LOWER],
    "_clean_whitespace": [_SPACES, _STRIP],
    "_clean_canonicalize": [
        {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": r"[!-/:-@\[-`{-~]"}, "content": ""},
        _LOWER,
        _SPACES,
        _STRIP,
    ],
}
"""By the names of open_clip's functions."""


def tokenizer_json(tokenizer: Callable[..., Tensor], context_length: int) -> str | None:
    """Return the file's text; None where such a file cannot do what the tokenizer does.

    Args:
        tokenizer: what `open_clip.get_tokenizer` returned.
        context_length: ids of a text, padded and cut to it.
    """
    if isinstance(tokenizer, SimpleTokenizer) and tokenizer.reduction_fn is None:
        content = _of_bpe(tokenizer, context_length)
    elif isinstance(tokenizer, HFTokenizer) and not (
        tokenizer.tokenizer_mode or tokenizer.strip_sep_token
    ):
        content = _of_hugging_face(tokenizer, context_length)
    else:
        return None
    return json.dumps(content, ensure_ascii=False)


def read_otherwise(
    text: str, tokenizer: Callable[..., Tensor], texts: Sequence[str], context_length: int
) -> list[str]:
    """Return those of some texts of which `tokenizer.json` makes other ids than the tokenizer."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_str(text).encode_batch(list(texts))
    wanted = tokenizer(list(texts), context_length=context_length).tolist()
    return [one for one, ids, ours in zip(texts, found, wanted, strict=True) if ids.ids != ours]


def _of_bpe(tokenizer: SimpleTokenizer, context_length: int) -> dict[str, Any]:
    start, end = (tokenizer.decoder[i] for i in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    special = [
        {
            "id": i, "content": tokenizer.decoder[i], "special": True, "normalized": False,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
        for i in tokenizer.all_special_ids
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        **_fixed_length(context_length, 0, tokenizer.decoder[0]),
        "added_tokens": special,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "NFC"}, *_QUOTES, *_CLEAN[tokenizer.clean_fn.__name__]],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": f"(?i:{_WORDS})"},
                    "behavior": "Removed",
                    "invert": True,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": start, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": end, "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {
                token: {"id": token, "ids": [tokenizer.encoder[token]], "tokens": [token]}
                for token in (start, end)
            },
        },
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": tokenizer.encoder,
            "merges": [" ".join(pair) for pair in tokenizer.bpe_ranks],
        },
    }


def _of_hugging_face(tokenizer: HFTokenizer, context_length: int) -> dict[str, Any]:
    own: Any = tokenizer.tokenizer
    content = json.loads(own.backend_tokenizer.to_str())
    content |= _fixed_length(context_length, own.pad_token_id, own.pad_token)
    first = _CLEAN[tokenizer.clean_fn.__name__]
    rest = [content["normalizer"]] if content.get("normalizer") else []
    content["normalizer"] = {"type": "Sequence", "normalizers": [*first, *rest]}
    return content


def _fixed_length(context_length: int, pad_id: int, pad_token: str) -> dict[str, Any]:
    return {
        "truncation": {
            "direction": "Right",
            "max_length": context_length,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": context_length},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": pad_id,
            "pad_type_id": 0,
            "pad_token": pad_token,
        },
    }
