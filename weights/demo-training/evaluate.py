"""Scores an exported folder on the held-out set with transformers: greedy generation, exact match, box overlap.

    python evaluate.py ../demo ../../test/heldout [--failures]
"""

import json
import random
import re
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import PaliGemmaForConditionalGeneration

from model import IMAGE_TOKENS, make_processor
from scenes import COLORS, KINDS, draw_scene
from tasks import LANGUAGES, make_item

NEW_TOKENS = 64
BOX = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})> ([^;<>]+)")


def make_pictures(seeds, name, with_images=True):
    """Scenes of seeds with one item of every task each (three questions), as {"image", "seed", "scene", "items"}."""
    kinds = [f"caption {language}" for language in LANGUAGES] + ["describe", "ocr"] + ["answer"] * 3 + ["question", "detect"]
    pictures = []
    for seed in seeds:
        rng = random.Random(f"{name} items {seed}")
        image, scene = draw_scene(seed)
        items = []
        for kind in kinds:
            item = make_item(scene, kind, rng, KINDS, list(COLORS))
            if item and item["prompt"] not in [other["prompt"] for other in items]:
                items.append(item)
        pictures.append({"image": image if with_images else None, "seed": seed, "scene": scene, "items": items})
    return pictures


def generate_all(model, processor, pictures, batch=48):
    """The generated text of every item, in order; items with equally long prompts share a batch, so nothing is padded."""
    tasks = [(picture["image"], item["prompt"]) for picture in pictures for item in picture["items"]]
    lengths = [len(processor.tokenizer(prompt + "\n", add_special_tokens=False).input_ids) for _, prompt in tasks]
    texts = [None] * len(tasks)
    for length in sorted(set(lengths)):
        same = [i for i, other in enumerate(lengths) if other == length]
        for start in range(0, len(same), batch):
            chunk = same[start : start + batch]
            inputs = processor(
                images=[[tasks[i][0]] for i in chunk], text=["<image>" + tasks[i][1] for i in chunk], return_tensors="pt",
            )
            inputs.pop("labels", None)
            with torch.no_grad():
                output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0, eos_token_id=1, bos_token_id=2)
            for i, row in zip(chunk, output[:, inputs["input_ids"].shape[1] :].tolist()):
                row = row[: row.index(1)] if 1 in row else row
                texts[i] = processor.tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return texts


def parse_boxes(text):
    """The boxes of a detection text: [(label, (y0, x0, y1, x1) in bins)]."""
    return [(label.strip(), tuple(map(int, numbers))) for *numbers, label in BOX.findall(text)]


def overlap(a, b):
    """Intersection over union of two boxes (y0, x0, y1, x1)."""
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return height * width / (sum(areas) - height * width)


def detection_overlaps(expected, generated):
    """One overlap per expected box, matched by order and label; 0 for a box that is missing or named otherwise."""
    found = parse_boxes(generated)
    scores = []
    for i, (label, box) in enumerate(parse_boxes(expected)):
        matches = i < len(found) and found[i][0] == label
        scores.append(overlap(box, found[i][1]) if matches else 0.0)
    return scores


def score(model, processor, pictures):
    """Generates every item and scores it. Returns {"summary": {name: value}, "failures": [...]}."""
    texts = iter(generate_all(model, processor, pictures))
    exact, overlaps, failures = {}, [], []
    for picture in pictures:
        for item in picture["items"]:
            text = next(texts)
            names = [item["kind"]]
            if item["kind"] == "caption":
                names.append(item["prompt"])
            if item["kind"] == "detect":
                boxes = detection_overlaps(item["expected"], text)
                overlaps += boxes
                good = min(boxes) >= 0.5
            else:
                good = text == item["expected"]
                for name in names:
                    exact.setdefault(name, []).append(good)
            if not good:
                failures.append({"seed": picture["seed"], **item, "generated": text})
    summary = {name: round(sum(values) / len(values), 4) for name, values in sorted(exact.items())}
    summary["detect mean IoU"] = round(sum(overlaps) / max(1, len(overlaps)), 4)
    counts = {name: len(values) for name, values in sorted(exact.items())}
    counts["detect boxes"] = len(overlaps)
    return {"summary": summary, "counts": counts, "failures": failures}


def main(folder, heldout, show_failures):
    """Loads the folder in float32 with eager attention and prints the scores."""
    torch.set_num_threads(2)
    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    pictures = json.loads((Path(heldout) / "heldout.json").read_text())["pictures"]
    for picture in pictures:
        picture["image"] = Image.open(Path(heldout) / picture["file"])
    result = score(model, make_processor(folder), pictures)
    print(json.dumps({"summary": result["summary"], "counts": result["counts"]}, indent=2))
    if show_failures:
        for failure in result["failures"]:
            print(json.dumps(failure, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--failures" in sys.argv)
