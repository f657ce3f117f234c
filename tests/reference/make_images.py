"""What Pillow reads of image files, as they are seen, and how it scales; and diffusers' average of weights.

Pinned: pillow 13.0.0, numpy 2.4.6, safetensors 0.8.0, diffusers 0.42.1, torch 2.11.0 (CPU).

    pip install pillow==13.0.0 numpy==2.4.6 safetensors==0.8.0 diffusers==0.42.1 torch==2.11.0
    python -B tests/reference/make_images.py

Writes `images/` beside this file: small image files, and `expected.safetensors`. Of a file that holds `rgb.<file>` and, where the
file has one, `alpha.<file>`, after `ImageOps.exif_transpose`; files whose name begins with `exif` are turned by that.
`scaled.<width>x<height>` is the image `pixels` in that size, by Lanczos; `behind.<file>` is a file on the colour #3050e0.
`average.<decay>` are the averages of the weights 1, 2, ..., 20 after each of these steps, from 0.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from PIL import Image, ImageOps
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "images"
SIZES = [(10, 26), (20, 50), (12, 40), (46, 30), (23, 40), (30, 61), (60, 100)]


def exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def files():
    """Names and bytes of the files."""
    y, x = np.mgrid[0:3, 0:5]
    small = Image.fromarray(np.stack([x * 50, y * 100, x * 20 + y * 30], -1).astype(np.uint8))
    y, x = np.mgrid[0:16, 0:24]
    large = Image.fromarray(np.stack([x * 10, y * 15, 255 - x * 5 - y * 5], -1).astype(np.uint8))
    alpha = large.copy()
    alpha.putalpha(Image.fromarray((x * 11).astype(np.uint8)))

    def encoded(image, kind, **options):
        data = io.BytesIO()
        image.save(data, kind, **options)
        return data.getvalue()

    for orientation in range(2, 9):
        yield f"exif-{orientation}.png", encoded(small, "PNG", exif=exif(orientation))
    for orientation in (1, 9):
        yield f"upright-{orientation}.png", encoded(small, "PNG", exif=exif(orientation))
    plain = encoded(small, "PNG")
    # Big-endian, a LONG, and behind the pixels.
    motorola = b"MM\0\x2a\0\0\0\x08\0\x01" + struct.pack(">HHII", 0x0112, 4, 1, 6) + bytes(4)
    yield "exif-late.png", plain[:-12] + png_chunk(b"eXIf", motorola) + plain[-12:]
    yield "exif.jpg", encoded(large, "JPEG", quality=95, subsampling=0, exif=exif(6))
    yield "exif.webp", encoded(alpha, "WEBP", lossless=True, exact=True, exif=exif(8))
    yield "exif.tif", encoded(large, "TIFF", tiffinfo={0x0112: 5}, compression="tiff_lzw")
    yield "true.bmp", encoded(large, "BMP")
    yield "palette.bmp", encoded(large.quantize(16), "BMP")
    yield "palette.gif", encoded(small.quantize(8), "GIF", transparency=3)
    yield "alpha.tiff", encoded(alpha, "TIFF", compression="tiff_adobe_deflate")
    yield "deep.tif", encoded(Image.fromarray((x * 2700 + y * 7).astype(np.uint16)), "TIFF")
    yield "palette.png", encoded(small.quantize(8), "PNG", transparency=2)
    yield "grey.png", encoded(alpha.convert("LA"), "PNG")


def seen(data):
    """Red, green and blue, and the alpha if there is one, of an image as it is seen."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, -1), None
    has_alpha = "A" in image.mode or "transparency" in image.info
    rgba = np.asarray(image.convert("RGBA"))
    # What is transparent keeps its colour.
    return rgba[..., :3].copy(), rgba[..., 3].copy() if has_alpha else None


def main():
    OUT.mkdir(exist_ok=True)
    out = {}
    for name, data in files():
        (OUT / name).write_bytes(data)
        rgb, alpha = seen(data)
        out[f"rgb.{name}"] = rgb
        if alpha is not None:
            out[f"alpha.{name}"] = alpha
            behind = Image.new("RGB", alpha.shape[::-1], "#3050e0")
            behind.paste(Image.fromarray(rgb), mask=Image.fromarray(alpha))
            out[f"behind.{name}"] = np.asarray(behind)
    pixels = np.random.default_rng(0).integers(0, 256, (61, 23, 3), dtype=np.uint8)
    out["pixels"] = pixels
    for width, height in SIZES:
        scaled = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        out[f"scaled.{width}x{height}"] = np.asarray(scaled)
    for decay in (0.9999, 0.25):
        parameter = torch.nn.Parameter(torch.zeros(1))
        average = EMAModel([parameter], decay=decay)
        values = []
        for step in range(1, 21):
            parameter.data.fill_(float(step))
            average.step([parameter])
            values.append(average.shadow_params[0].item())
        out[f"average.{decay}"] = np.array(values)
    save_file({name: np.ascontiguousarray(value) for name, value in sorted(out.items())}, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
