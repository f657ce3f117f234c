"""Writes the tokenizer of the base model, a word a token: the words of the captions in data/manifest.tsv
that the base model learns from, those of base.toml's captions, and the trigger tokens of the adapters.

    python vocabulary.py
"""

import csv
import json
import pathlib

here = pathlib.Path(__file__).parent
special = ["<|startoftext|>", "<|endoftext|>"]
triggers = [f"<v{i}>" for i in range(1, 6)] + [f"<s{i}>" for i in range(1, 5)]
around = "noto blob fluent twemoji style on white red yellow green blue purple black background"
marks = [":", ","]


def words(caption):
    for mark in marks:
        caption = caption.replace(mark, "")
    return caption.lower().split()


with open(here / "data/manifest.tsv", encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
base = {word for row in rows if row["split"] == "base" for word in words(row["caption"])}
known = base | set(around.split()) | set(triggers)
for row in rows:
    if unknown := set(words(row["caption"])) - known:
        raise SystemExit(f"{row['caption']!r}: the base model cannot learn {sorted(unknown)}")

tokens = special + triggers + sorted(known - set(triggers))
added = [
    {"id": i, "content": token, "special": True}
    | dict.fromkeys(["lstrip", "normalized", "rstrip", "single_word"], False)
    for i, token in enumerate(special)
]
remove = [{"type": "Replace", "pattern": {"String": mark}, "content": ""} for mark in marks]
tokenizer = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": added,
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *remove]},
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "unk_token": "",
        "vocab": {token: i for i, token in enumerate(tokens)},
    },
}
path = here / "base/tokenizer/tokenizer.json"
path.write_text(json.dumps(tokenizer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
print(len(tokens), "tokens")
