"""Trains the mask VQ-VAE on the CPU and writes it.

    python train_vqvae.py ../demo/vae.safetensors --steps 6000

The codebook follows the encoder by moving averages; a row that hardly anything chooses is put on some encoder output of
the batch; gradients pass the quantiser straight through. Source: https://arxiv.org/abs/1711.00937, section 3.2 and appendix A.
"""

import argparse
import time

import torch
from torch.nn import functional

from mask_shapes import crops
from scenes import CANVAS, KINDS, SIDES, shape_mask
from vqvae import CODE_WIDTH, CODES, MaskVqVae, crop_mask, save, to_input

SEED = 20250301
BATCH = 128
HELDOUT_SEEDS = range(1, 1001)
TRAIN_FIRST_SEED = 10_000
KEEP, COMMITMENT = 0.99, 0.25
DEAD = 0.5
"""A row whose moving average of choices per batch (of 16 x BATCH) falls below this is replaced."""


class MovingCodebook:
    """Moves the rows of a codebook to the means of the encoder outputs that choose them."""

    def __init__(self, codebook):
        self.codebook = codebook
        self.count, self.total = torch.full((CODES,), 4.0), codebook._embedding * 4.0

    def update(self, z, chosen, restart):
        """z [n, C] and the indices [n] that were chosen; ``restart`` moves dead rows to random outputs of the batch."""
        one_hot = functional.one_hot(chosen, CODES).float()
        self.count.mul_(KEEP).add_(one_hot.sum(0), alpha=1 - KEEP)
        self.total.mul_(KEEP).add_(one_hot.T @ z, alpha=1 - KEEP)
        if restart and (dead := self.count < DEAD).any():
            fresh = z[torch.randint(len(z), (int(dead.sum()),))]
            self.count[dead], self.total[dead] = 2.0, fresh * 2.0
        self.codebook._embedding.copy_(self.total / self.count.clamp(min=1e-3).unsqueeze(1))


def reconstruction_ious(model, inputs):
    """IoU of each mask with its reconstruction, both cut at 0, on the 64 x 64 grid."""
    with torch.no_grad():
        drawn, again = inputs > 0, model.decode(model.encode(inputs)) > 0
    return (drawn & again).sum((1, 2, 3)) / (drawn | again).sum((1, 2, 3))


def demo_inputs():
    """The twelve masks that scenes.py draws: six kinds in two sizes."""
    names = [(kind, size) for kind in KINDS for size in SIDES]
    masks = [shape_mask(kind, CANVAS // 2, CANVAS // 2, SIDES[size]) for kind, size in names]
    return names, to_input(torch.stack([torch.tensor(crop_mask(mask)) for mask in masks]))


def report(model):
    """Prints IoUs on held-out masks, shapes of the scenes' kinds and varied ones together, and on the twelve of the scenes."""
    model.eval()
    heldout = to_input(torch.from_numpy(crops(HELDOUT_SEEDS)))
    ious = reconstruction_ious(model, heldout)
    used = len(model.encode(heldout).unique())
    print(f"held-out masks: mean IoU {ious.mean():.4f}, worst of 20 {ious.quantile(0.05):.4f}, codes used {used}")
    names, inputs = demo_inputs()
    for (kind, size), iou, codes in zip(names, reconstruction_ious(model, inputs), model.encode(inputs).tolist()):
        print(f"{kind} {size}: IoU {iou:.4f}, codes {codes}")
    model.train()


def step(model, moving, optimizer, inputs, restart):
    """One step; returns the loss of the reconstruction."""
    z = model.encoder(inputs)
    flat = z.permute(0, 2, 3, 1).reshape(-1, CODE_WIDTH)
    with torch.no_grad():
        chosen = model._vq_vae.nearest(flat)
    rows = model._vq_vae._embedding[chosen].reshape(z.shape[0], *z.shape[2:], CODE_WIDTH).permute(0, 3, 1, 2)
    loss = functional.mse_loss(model.decoder(z + (rows - z).detach()), inputs)
    optimizer.zero_grad(set_to_none=True)
    (loss + COMMITMENT * functional.mse_loss(z, rows)).backward()
    optimizer.step()
    moving.update(flat.detach(), chosen, restart)
    return loss.item()


def main():
    """Draws the masks, trains, reports, writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--masks", type=int, default=60_000)
    parser.add_argument("--peak", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    drawn = torch.from_numpy(crops(range(TRAIN_FIRST_SEED, TRAIN_FIRST_SEED + args.masks)))
    model = MaskVqVae()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.peak, betas=(0.9, 0.99), weight_decay=1e-4)
    moving = MovingCodebook(model._vq_vae)
    started, total = time.time(), 0.0
    for index in range(args.steps):
        share = index / args.steps
        for group in optimizer.param_groups:
            group["lr"] = args.peak * min(1.0, (index + 1) / 100, max(0.01, 2 * (1 - share)))
        total += step(model, moving, optimizer, to_input(drawn[torch.randint(len(drawn), (BATCH,))]), restart=share < 0.7)
        if (index + 1) % 250 == 0:
            print(f"step {index + 1}  {time.time() - started:.0f} s  loss {total / 250:.4f}", flush=True)
            total = 0.0
        if (index + 1) % 2000 == 0 or index + 1 == args.steps:
            report(model)
            save(model, args.file)


if __name__ == "__main__":
    main()
