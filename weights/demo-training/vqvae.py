"""The mask VQ-VAE: a 64 x 64 mask becomes 16 codes of 128, and 16 codes become a mask again.

The architecture and the tensor names are those of PaliGemma's ``vae-oid.npz``; only the layers are narrower, so every
reader of that file reads this one. Source: google-research/big_vision, the encoder in
``big_vision/pp/proj/paligemma/segmentation.py`` (``encode_to_codebook_indices``), the decoder in
``big_vision/evaluators/proj/paligemma/transfers/segmentation.py`` (``Decoder``), after https://arxiv.org/abs/2301.02229.
"""

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

CODES = 128
GRID = 4
SIDE = 64
CODE_WIDTH = 16
ENCODER_WIDTHS = (8, 16, 32, 20)
DECODER_WIDTHS = (28, 28, 20, 12, 8)
"""The width of the residual blocks, then the output widths of the four transposed convolutions."""


class Residual(nn.Module):
    """x + conv1x1(ReLU(conv3x3(ReLU(conv3x3(x))))), with nothing after the sum."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1),
        )

    def forward(self, x):
        return x + self.net(x)


class Codebook(nn.Module):
    """The 128 rows [128, C], as the buffer ``_embedding``."""

    def __init__(self):
        super().__init__()
        self.register_buffer("_embedding", torch.randn(CODES, CODE_WIDTH))

    def nearest(self, z):
        """[n, C] -> the index of the row with the least squared distance, [n]."""
        return (self._embedding.square().sum(1) - 2 * z @ self._embedding.T).argmin(1)


class MaskVqVae(nn.Module):
    """Encoder [n, 1, 64, 64] -> [n, C, 4, 4], codebook, decoder back to [n, 1, 64, 64]; masks lie in -1..1."""

    def __init__(self):
        super().__init__()
        widths = (1, *ENCODER_WIDTHS)
        down = [layer for a, b in zip(widths, widths[1:]) for layer in (nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU())]
        last = ENCODER_WIDTHS[-1]
        self.encoder = nn.Sequential(*down, Residual(last), Residual(last), nn.Conv2d(last, CODE_WIDTH, 1))
        first = DECODER_WIDTHS[0]
        pairs = zip(DECODER_WIDTHS, DECODER_WIDTHS[1:])
        up = [layer for a, b in pairs for layer in (nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU())]
        self.decoder = nn.Sequential(
            nn.Conv2d(CODE_WIDTH, first, 1), nn.ReLU(), Residual(first), Residual(first), *up, nn.Conv2d(DECODER_WIDTHS[-1], 1, 1),
        )
        self._vq_vae = Codebook()

    def encode(self, x):
        """Masks [n, 1, 64, 64] in -1..1 -> codes [n, 16], row by row over the 4 x 4 grid."""
        z = self.encoder(x).permute(0, 2, 3, 1).reshape(-1, CODE_WIDTH)
        return self._vq_vae.nearest(z).reshape(-1, GRID * GRID)

    def decode(self, codes):
        """Codes [n, 16] -> masks [n, 1, 64, 64], about -1..1."""
        rows = self._vq_vae._embedding[codes.reshape(-1)]
        return self.decoder(rows.reshape(-1, GRID, GRID, CODE_WIDTH).permute(0, 3, 1, 2))


def save(model, file):
    """Writes the tensors in float32 and PyTorch's layouts: convolutions [out, in, h, w], transposed ones [in, out, h, w]."""
    save_file({name: tensor.detach().float().contiguous() for name, tensor in model.state_dict().items()}, file, metadata={"format": "pt"})


def load(file):
    """The VQ-VAE of a file, ready to use."""
    model = MaskVqVae()
    model.load_state_dict(load_file(file))
    return model.eval().requires_grad_(False)


def crop_mask(mask, box=None):
    """A Pillow mask (0 or 255) cropped to a pixel box (x0, y0, x1, y1), by default the drawn one: uint8 [64, 64].

    Pillow's bilinear resize, antialiased where it shrinks.
    """
    return numpy.asarray(mask.crop(box or mask.getbbox()).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def to_input(crops):
    """uint8 crops [n, 64, 64] -> 2 (m / 255 - 0.5), [n, 1, 64, 64]."""
    return 2 * (torch.as_tensor(crops).unsqueeze(1).float() / 255 - 0.5)


class MaskCoder:
    """The codes of masks; equal crops are encoded once."""

    def __init__(self, file):
        self.model, self.known = load(file), {}

    def codes(self, mask):
        """The 16 codes of a Pillow mask, cropped to what is drawn in it."""
        crop = crop_mask(mask)
        key = crop.tobytes()
        if key not in self.known:
            self.known[key] = self.model.encode(to_input(crop[None].copy()))[0].tolist()
        return self.known[key]
