"""Checks that tokenizer.model alone (sentencepiece) and the Hugging Face tokenizer give the same ids for every held-out text.

    python check_tokenizer.py ../demo ../../test/heldout
"""

import json
import sys
from pathlib import Path

import sentencepiece

from model import load_tokenizer


def main(folder, heldout):
    """Compares the ids of every prompt with its newline, and of every expected text; fails on the first difference."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(Path(folder) / "tokenizer.model"))
    tokenizer = load_tokenizer(folder)
    checked = 0
    for picture in json.loads((Path(heldout) / "heldout.json").read_text())["pictures"]:
        for item in picture["items"]:
            for text in (item["prompt"] + "\n", item["expected"]):
                ours, theirs = pieces.encode(text), tokenizer(text, add_special_tokens=False).input_ids
                if ours != theirs:
                    raise SystemExit(f"{text!r}: sentencepiece {ours}, Hugging Face {theirs}")
                checked += 1
    if pieces.encode("\n") != [tokenizer.convert_tokens_to_ids("\n")]:
        raise SystemExit("the newline is not a single piece")
    print(f"{checked} texts give the same ids")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
