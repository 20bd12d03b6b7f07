"""Digests of every part's weights after 40 training steps with the current code.

    python -m cfx.benchmarks.studies.training OUT --data DIR > digests.json

`training_e44a19a.py` does the same with the code of that commit. The two outputs are equal as long as training has not
changed. Both scripts train MNIST's recipe, separately and jointly (VCNet), and two bundles of a user's own images: one
at the images' size, and one at a smaller working size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...progress import SILENT, Progress
from ...training.fit import Fit
from ...training.opening import open_session, reopen_session
from ...training.session import TrainingSession

STEPS = 40


def train(session: TrainingSession) -> dict[str, str]:
    """Train with `STEPS` steps; return digests of the float32 weights of each fit, and of each file of the bundle."""
    found: dict[str, str] = {}
    run = Fit.run

    def watched(self: Fit, checkpoint: Path | None = None, progress: Progress = SILENT, every_s: float = 30.0) -> None:
        assert checkpoint is not None
        self.total_steps = STEPS
        run(self, checkpoint, progress, every_s)
        digest = hashlib.sha256()
        for module in self.modules.values():
            for name, tensor in module.state_dict().items():
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        found[f"fit {checkpoint.stem}"] = digest.hexdigest()

    Fit.run = watched
    try:
        session.make()
    finally:
        Fit.run = run
    files = sorted(path for path in session.directory.iterdir() if path.is_file())
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
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out, binaries = options.out, Path(sys.executable).parent
    result: dict[str, dict[str, str]] = {}
    images = own_images(out / "digits", Path(__file__).parents[2])
    for name, sizes in (("own", ()), ("carried", ("--size", "36", "--working", "24"))):
        command = [binaries / "cfx", "init", out / name, "--images", images, *sizes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result[name] = train(reopen_session(out / name))
        result[name].pop("bundle.toml")  # holds the directory of the images
    for name, joint in (("mnist", False), ("mnist-joint", True)):
        result[name] = train(open_session("mnist", options.data, out / name, joint=joint))
        result[name].pop("bundle.toml")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
