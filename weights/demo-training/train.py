"""Trains the demo checkpoint on the CPU, in three stages.

    python train.py vision  --folder ../demo --work WORK --steps 1500 --decay 1000
    python train.py joint   --folder ../demo --work WORK --steps 12000 --decay 4000 --export
    python train.py segment --folder ../demo --work WORK --steps 3000 --decay 2900 --export

Two processes with one thread each share every batch and average their gradients once a step: on a busy machine that
loses far less than one process whose threads wait for each other at every operation.

Stage "vision" teaches the tower alone with dense patch losses; stage "joint" trains everything on the tasks and keeps
the patch losses as an aid; stage "segment" continues from the exported folder and adds masks, whose codes the folder's
``vae.safetensors`` gives. WORK holds resumable checkpoints; a stage that is started again continues from its last one.
The learning rate is warmed up, held, and lowered to zero over the last ``--decay`` steps.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

from data import SceneBatches, normalize
from evaluate import make_pictures, score
from losses import PatchHeads, language_loss
from model import export, load_exported, load_tokenizer, make_config, make_model, make_processor, start_code_rows
from training_forward import vision_features
from vqvae import MaskCoder

MODEL_SEED = 20241205
VISION_FIRST_SEED = 1_000_000
JOINT_FIRST_SEED = 10_000_000
SEGMENT_FIRST_SEED = 30_000_000
DEV_SEEDS = range(1000, 1024)
WARM_UP = 150
PROCESSES = 2
TOWER_SCALE = 0.5
"""In the stages after the first the vision tower, trained before, learns at this part of the rate."""
HEADS_ALONE = 150
"""Steps of the stage "segment" whose patch losses train the heads alone: an exported folder does not hold them."""


@dataclass(frozen=True)
class Stage:
    """A stage's first seed, its pictures per batch and process, prompts per picture, and parts that batches are cut into."""

    first_seed: int
    pictures: int
    prompts: int
    parts: int


STAGES = {
    "vision": Stage(VISION_FIRST_SEED, 32, 0, 1),
    "joint": Stage(JOINT_FIRST_SEED, 16, 4, 2),
    "segment": Stage(SEGMENT_FIRST_SEED, 16, 4, 4),
}


def learning_rate(step, steps, decay, peak):
    """Warm-up, plateau, and a straight line to (almost) zero over the last ``decay`` steps."""
    return peak * min(1.0, (step + 1) / WARM_UP, max(0.005, (steps - step) / decay))


def parameter_groups(modules, tower, tower_scale):
    """Weight decay on matrices, none on vectors and embedding tables; the vision tower's rate is scaled."""
    in_tower = {id(p) for p in tower.parameters()}
    groups = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            decay = 0.0 if parameter.dim() < 2 or "embed" in name else 0.02
            scale = tower_scale if id(parameter) in in_tower else 1.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "scale": scale} for (scale, decay), members in groups.items()]


def evaluate_on_dev(model, processor, coder):
    """Scores greedy generation on the dev pictures; returns one short line."""
    model.eval()
    result = score(model, processor, make_pictures(DEV_SEEDS, "dev", coder), coder)
    model.train()
    return json.dumps(result["summary"])


def average_gradients(parameters):
    """Replaces every gradient by its mean over the processes."""
    flat = torch.cat([p.grad.reshape(-1) for p in parameters])
    torch.distributed.all_reduce(flat)
    flat /= PROCESSES
    for parameter, mean in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad.copy_(mean.reshape(parameter.shape))


def run(rank, args):
    """Runs one stage in one of the processes; the first one prints, saves and exports."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{args.work}/rendezvous", rank=rank, world_size=PROCESSES)
    torch.manual_seed(MODEL_SEED)
    torch.set_num_threads(1)
    stage, first = STAGES[args.stage], rank == 0
    joint = args.stage != "vision"
    work = Path(args.work)

    tokenizer = load_tokenizer(args.folder)
    processor = make_processor(args.folder)
    config = make_config(tokenizer)
    coder = MaskCoder(Path(args.folder) / "vae.safetensors") if args.stage == "segment" else None
    location_start = tokenizer.convert_tokens_to_ids("<loc0000>")
    model = make_model(config, location_start, MODEL_SEED)
    heads = PatchHeads(config.vision_config.hidden_size)
    trained = [model if joint else model.model.vision_tower, heads]
    groups = parameter_groups(trained, model.model.vision_tower, TOWER_SCALE if joint else 1.0)
    optimizer = torch.optim.AdamW(groups, lr=args.peak, betas=(0.9, 0.98), eps=1e-8, fused=True)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    step, spent = 0, 0.0
    checkpoint = work / f"{args.stage}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        scales = [group["scale"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, scale in zip(optimizer.param_groups, scales):
            group["scale"] = scale
        step, spent = state["step"], state["spent"]
    elif args.stage == "segment":
        load_exported(model, args.folder)
        start_code_rows(model, coder.model._vq_vae._embedding, location_start + 1024, MODEL_SEED)
    elif joint:
        state = torch.load(work / "vision.pt")
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
    batches = SceneBatches(tokenizer, stage.first_seed, stage.pictures, stage.prompts, stage.parts, coder)
    started, sums, counted = time.time() - spent, {}, 0
    while step < args.steps:
        pixels, targets, sequences = batches.batch(step * PROCESSES + rank)
        rate = learning_rate(step, args.steps, args.decay, args.peak)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        features = vision_features(model, normalize(pixels))
        heads_alone = args.stage == "segment" and step < HEADS_ALONE
        loss, losses = heads(features.detach() if heads_alone else features, targets)
        if joint:
            image_features = model.model.multi_modal_projector(features)
            spread = 4.0 if step < args.steps - args.decay else 2.0
            pairs = [language_loss(model, image_features, part, location_start, spread) for part in sequences]
            losses["language"] = sum(total for total, _ in pairs) / sum(count for _, count in pairs)
            loss = losses["language"] + 0.2 * loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        counted += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        if first and step % 50 == 0:
            means = "  ".join(f"{name} {value / counted:.4f}" for name, value in sums.items())
            print(f"{args.stage} step {step}  {time.time() - started:.0f} s  lr {rate:.2e}  {means}", flush=True)
            sums, counted = {}, 0
        if first and (step % 200 == 0 or step == args.steps):
            state = {"model": model.state_dict(), "heads": heads.state_dict(), "optimizer": optimizer.state_dict(),
                     "step": step, "spent": time.time() - started}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
        if first and joint and (step % args.evaluate_every == 0 or step == args.steps):
            print(f"dev step {step}  {evaluate_on_dev(model, processor, coder)}", flush=True)
    if first and args.export:
        export(model, args.folder)
    torch.distributed.destroy_process_group()


def main():
    """Parses the arguments and starts the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=tuple(STAGES))
    parser.add_argument("--folder", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--decay", type=int, required=True)
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--evaluate-every", type=int, default=1000)
    parser.add_argument("--export", action="store_true", help="write the bfloat16 folder at the end")
    args = parser.parse_args()
    args.work = str(Path(args.work).absolute())
    Path(args.work).mkdir(parents=True, exist_ok=True)
    (Path(args.work) / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(run, args=(args,), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
