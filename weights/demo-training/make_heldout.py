"""Draws the held-out set: pictures of seeds that no training stage uses, and the tasks with their expected texts.

    python make_heldout.py ../demo/vae.safetensors ../../test/heldout

The VQ-VAE gives the codes of the segmentation tasks.
"""

import json
import re
import sys
from pathlib import Path

from evaluate import make_pictures
from vqvae import MaskCoder

HELDOUT_SEEDS = range(1, 97)


def main(vae, folder):
    """Writes 0001.png ... and heldout.json."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, picture in enumerate(make_pictures(HELDOUT_SEEDS, "heldout", MaskCoder(vae)), start=1):
        file = f"{number:04d}.png"
        picture["image"].save(folder / file, optimize=True)
        entries.append({"file": file, "seed": picture["seed"], "scene": picture["scene"], "items": picture["items"]})
    text = json.dumps({"schema": 1, "pictures": entries}, ensure_ascii=False, indent=1)
    text = re.sub(r'("counts": \[)([\d,\s]+)', lambda found: found[1] + "".join(found[2].split()), text)
    (folder / "heldout.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
