"""Times PaliGemma in transformers on one checkpoint; the other half of the comparison is run-ours.ts.

    python reference.py REQUEST

REQUEST is JSON: model (folder), inputs (folder of ids.json and pixels.f32), dtype (bfloat16, float16 or float32) and answers
(how many tokens each has). The last line printed is JSON as sample.ts describes it: times in seconds, memory in bytes.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import PaliGemmaForConditionalGeneration
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging


class Clock(BaseStreamer):
    """Notes when each new token is there; `generate` hands over the prompt first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """One call for the prompt, then one for each token."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is held back."""


def read_inputs(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The ids and pixels that both sides get; here pixels are channels first and of the model's type."""
    row = json.loads((folder / "ids.json").read_text())
    size = row["imageSize"]
    pixels = np.fromfile(folder / "pixels.f32", dtype="<f4").reshape(1, size, size, 3)
    ids = torch.tensor([row["inputIds"]])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),  # all of it is image and prompt
        "pixel_values": torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(dtype),
    }


def load(request: dict) -> tuple[PaliGemmaForConditionalGeneration, float]:
    """The model, everything else as transformers chooses, and how long loading took."""
    start = time.perf_counter()
    model, report = PaliGemmaForConditionalGeneration.from_pretrained(
        request["model"], dtype=getattr(torch, request["dtype"]), local_files_only=True, output_loading_info=True
    )
    model.eval()
    seconds = time.perf_counter() - start
    wrong = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]]
    if wrong:
        raise SystemExit(f"{request['model']}: the reference reports {', '.join(wrong)}")
    # Without an end-of-sequence id every run decodes the same number of tokens.
    model.generation_config.eos_token_id = None
    return model, seconds


def answer(model: PaliGemmaForConditionalGeneration, inputs: dict[str, torch.Tensor], tokens: int) -> dict:
    """Seconds to the first token, seconds for each further one on average, and the ids; greedy."""
    clock = Clock()
    start = time.perf_counter()
    ids = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, streamer=clock)
    first, last = clock.times[1], clock.times[-1]
    return {
        "first": first - start,
        "further": (last - first) / (tokens - 1) if tokens > 1 else None,
        "tokens": ids[0, inputs["input_ids"].shape[1] :].tolist(),
    }


def resident() -> dict[str, int]:
    """Peak resident memory, and what is resident now: of its own, and mapped from files."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return {"peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale, "ownBytes": 0, "fileBytes": 0}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    kilobytes = {name: int(fields[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}
    return {
        "peakBytes": kilobytes["VmHWM"] * 1024,
        "ownBytes": kilobytes["RssAnon"] * 1024,
        "fileBytes": kilobytes["RssFile"] * 1024,
    }


def main() -> None:
    """Loads, answers and prints."""
    request = json.loads(sys.argv[1])
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    ready_at = time.time()
    model, load_seconds = load(request)
    loaded = resident()
    inputs = read_inputs(Path(request["inputs"]), model.dtype)
    answers = [answer(model, inputs, tokens) for tokens in request["answers"]]
    result = {
        "readyAt": ready_at,
        "load": load_seconds,
        "computed": str(model.dtype).removeprefix("torch."),
        "answers": answers,
        "loaded": loaded,
        "ended": resident(),
        "processorTime": time.process_time(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
