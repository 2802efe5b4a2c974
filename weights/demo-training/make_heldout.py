"""Draws the held-out set: pictures of seeds that no training stage uses, and the tasks with their expected texts.

    python make_heldout.py ../../test/heldout
"""

import json
import sys
from pathlib import Path

from evaluate import make_pictures

HELDOUT_SEEDS = range(1, 97)


def main(folder):
    """Writes 0001.png ... and heldout.json."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, picture in enumerate(make_pictures(HELDOUT_SEEDS, "heldout"), start=1):
        file = f"{number:04d}.png"
        picture["image"].save(folder / file, optimize=True)
        entries.append({"file": file, "seed": picture["seed"], "scene": picture["scene"], "items": picture["items"]})
    text = json.dumps({"schema": 1, "pictures": entries}, ensure_ascii=False, indent=1)
    (folder / "heldout.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
