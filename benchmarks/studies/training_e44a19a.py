"""Digests of every part's weights after 40 training steps with the code of commit e44a19a.

    CHECKOUT/.venv/bin/python training_e44a19a.py OUT --data DIR > digests.json

Run it in a checkout of that commit; `training.py` does the same with the current code. Both scripts train MNIST's
recipe, separately and jointly (VCNet), and two bundles of a user's own images: one at the images' size, and one at a
smaller working size.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...bundles.workshop import Workshop, open_workshop, reopen_workshop
from ...data.fitting import Fit

STEPS = 40


class FortySteps:
    """Replaces the budget, and gives every fit the same number of steps."""

    def allot(self, label: str, fit: Fit) -> int:
        return STEPS

    def save(self) -> None: ...

    def done(self, label: str) -> None: ...


def train(shop: Workshop) -> dict[str, str]:
    """Train with `STEPS` steps; return digests of the float32 weights of each fit, and of each file of the bundle."""
    found: dict[str, str] = {}
    run = Fit.run

    def watched(fit: Fit, checkpoint: Path, *rest: Any) -> None:
        run(fit, checkpoint, *rest)
        digest = hashlib.sha256()
        for module in fit.modules.values():
            for name, tensor in module.state_dict().items():
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        found[f"fit {checkpoint.stem}"] = digest.hexdigest()

    shop.budget = FortySteps()
    Fit.run = watched
    try:
        shop.make()
    finally:
        Fit.run = run
    files = sorted(path for path in shop.directory.iterdir() if path.is_file())
    return found | {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def own_images(directory: Path, checkout: Path) -> Path:
    """Write the tests' 400 digits as one folder per class."""
    with np.load(checkout / "tests" / "data" / "digits.npz") as file:
        for place, (image, label) in enumerate(zip(file["images"], file["labels"], strict=True)):
            path = directory / str(label) / f"{place:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out, binaries = options.out, Path(sys.executable).parent
    result: dict[str, dict[str, str]] = {}
    images = own_images(out / "digits", binaries.parent.parent)
    for name, sizes in (("own", ()), ("carried", ("--size", "36", "--working", "24"))):
        command = [binaries / "cfx", "init", out / name, "--images", images, *sizes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result[name] = train(reopen_workshop(out / name))
        result[name].pop("bundle.toml")  # holds the directory of the images
    for name, joint in (("mnist", False), ("mnist-joint", True)):
        result[name] = train(open_workshop("mnist", options.data, out / name, joint=joint))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
