"""What Pillow reads of a JPEG that the toolkit wrote, and of one that Pillow wrote of the same pixels.

Pinned: pillow 13.0.0, numpy 2.4.6, safetensors 0.8.0.

    pip install pillow==13.0.0 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_jpeg.py

Reads `images/written.jpg` where it is there: the toolkit's encoder, of the tensor `pixels`, with the text `a lily, ü`.
Writes `images/jpeg.safetensors`: `pixels`; `written`, what Pillow reads of that file; and `pillow`, what it reads of its
own, of quality 95 without subsampling. The text and the steps of the file are compared here.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "images"


def pixels():
    """Hills, an edge and noise, in a size that is no multiple of 8."""
    y, x = np.mgrid[0:43, 0:61]
    noise = np.random.default_rng(0).integers(0, 64, (43, 61))
    hills = 127.5 + 120 * np.sin(x / 7) * np.cos(y / 5)
    return np.stack([hills, np.where(x > y, 240, 20), 96 + noise], -1).astype(np.uint8)


def main():
    tensors = {"pixels": pixels()}
    own = io.BytesIO()
    Image.fromarray(pixels()).save(own, "JPEG", quality=95, subsampling=0)
    own = Image.open(own)
    tensors["pillow"] = np.asarray(own).copy()
    if (OUT / "written.jpg").exists():
        written = Image.open(OUT / "written.jpg")
        assert written.quantization == own.quantization
        comment = written.getexif().get_ifd(0x8769)[0x9286]
        assert comment == b"UNICODE\0" + "a lily, ü".encode("utf-16-be"), comment
        tensors["written"] = np.asarray(written).copy()
    save_file(tensors, OUT / "jpeg.safetensors")
    for name, values in tensors.items():
        error = values.astype(float) - pixels()
        print(name, values.shape, f"rms {np.sqrt((error**2).mean()):.4f}, max {abs(error).max():.0f}")


if __name__ == "__main__":
    main()
