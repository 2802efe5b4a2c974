"""Scores an exported folder on the held-out set with transformers: greedy generation, exact match, box and mask overlap.

    python evaluate.py ../demo ../../test/heldout [--failures]
"""

import json
import random
import re
import sys
from pathlib import Path

import numpy
import torch
from PIL import Image
from transformers import PaliGemmaForConditionalGeneration

import vqvae
from masks import from_run_lengths, mask_overlaps, object_masks, run_lengths
from model import make_processor
from scenes import CANVAS, COLORS, KINDS, draw_masked_scene
from tasks import LANGUAGES, make_item

NEW_TOKENS = 128
BOX = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>(?:<seg\d{3}>)* ([^;<>]+)")


def make_segment_item(scene, masks, coder, rng):
    """A segmentation task of a scene, with "masks": of each named shape its label and its run lengths on the canvas."""
    item = make_item(scene, "segment", rng, KINDS, list(COLORS), [coder.codes(mask) for mask in masks])
    if item:
        labels = item["prompt"].removeprefix("segment ").split(" ; ")
        drawn = [numpy.asarray(masks[i]) > 0 for i in item.pop("shapes")]
        item["masks"] = [{"label": label, "counts": run_lengths(mask)} for label, mask in zip(labels, drawn)]
    return item


def make_pictures(seeds, name, coder=None):
    """Scenes of seeds with one item of every task each (three questions), as {"image", "seed", "scene", "items"}.

    With ``coder``, a MaskCoder, a segmentation task comes last; it draws from a generator of its own.
    """
    kinds = [f"caption {language}" for language in LANGUAGES] + ["describe", "ocr"] + ["answer"] * 3 + ["question", "detect"]
    pictures = []
    for seed in seeds:
        rng = random.Random(f"{name} items {seed}")
        image, scene, masks = draw_masked_scene(seed)
        items = []
        for kind in kinds:
            item = make_item(scene, kind, rng, KINDS, list(COLORS))
            if item and item["prompt"] not in [other["prompt"] for other in items]:
                items.append(item)
        if coder and (item := make_segment_item(scene, masks, coder, random.Random(f"{name} segment {seed}"))):
            items.append(item)
        pictures.append({"image": image, "seed": seed, "scene": scene, "items": items})
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


def segmentation_overlaps(item, generated, coder):
    """The overlaps of masks of an item, at the canvas's size; 0 for a missing or malformed object and for one too many."""
    expected = [(entry["label"], from_run_lengths(entry["counts"], CANVAS, CANVAS)) for entry in item["masks"]]
    return mask_overlaps(expected, [(label, mask) for label, _, mask in object_masks(generated, coder.model, CANVAS, CANVAS)])


def score(model, processor, pictures, coder=None):
    """Generates every item and scores it; ``coder`` where there are segmentation tasks.

    Returns {"summary": {name: value}, "counts": {name: items}, "failures": [...], "texts": [...]}.
    """
    texts = generate_all(model, processor, pictures)
    values, failures, items = {}, [], [(picture["seed"], item) for picture in pictures for item in picture["items"]]
    for (seed, item), text in zip(items, texts):
        if item["kind"] in ("detect", "segment"):
            overlaps = detection_overlaps(item["expected"], text)
            values.setdefault(f"{item['kind']} mean IoU", []).extend(overlaps)
            if item["kind"] == "segment":
                overlaps = segmentation_overlaps(item, text, coder)
                values.setdefault("segment mean mask IoU", []).extend(overlaps)
            good = min(overlaps) >= 0.5
        else:
            good = text == item["expected"]
            for name in (item["kind"], item["prompt"]) if item["kind"] == "caption" else (item["kind"],):
                values.setdefault(name, []).append(good)
        if not good:
            failures.append({"seed": seed, **{key: value for key, value in item.items() if key != "masks"}, "generated": text})
    summary = {name: round(sum(scores) / len(scores), 4) for name, scores in sorted(values.items())}
    counts = {name: len(scores) for name, scores in sorted(values.items())}
    return {"summary": summary, "counts": counts, "failures": failures, "texts": texts}


def main(folder, heldout, show_failures):
    """Loads the folder in float32 with eager attention and prints the scores."""
    torch.set_num_threads(2)
    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    pictures = json.loads((Path(heldout) / "heldout.json").read_text())["pictures"]
    for picture in pictures:
        picture["image"] = Image.open(Path(heldout) / picture["file"])
    result = score(model, make_processor(folder), pictures, vqvae.MaskCoder(Path(folder) / "vae.safetensors"))
    print(json.dumps({"summary": result["summary"], "counts": result["counts"]}, indent=2))
    if show_failures:
        for failure in result["failures"]:
            print(json.dumps(failure, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--failures" in sys.argv)
