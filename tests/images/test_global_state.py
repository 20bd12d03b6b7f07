"""A library changes nothing of the process that uses it, also while it reads in threads."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfx.images.decoding import decode
from cfx.images.sets.folders import open_folders

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.png"))


def state() -> dict[str, object]:
    """What a library might change, and must not."""
    Image.init()  # Pillow registers its own formats when they are first needed
    return {
        "warnings": list(warnings.filters),
        "Pillow's limit": Image.MAX_IMAGE_PIXELS,
        "Pillow's formats": sorted(Image.OPEN),
        "logging": (logging.root.manager.disable, [list(logging.getLogger(name).handlers) for name in ("", "PIL")]),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "seeds": (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "types": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


def test_reading_changes_nothing():
    before = state()
    for path in EXAMPLES:
        decode(path)
    assert state() == before


def test_reading_in_threads_changes_nothing_and_hides_no_warnings(tmp_path: Path):
    for label in ("a", "b"):
        for number in range(200):
            path = tmp_path / label / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(EXAMPLES[number % len(EXAMPLES)].read_bytes())
    images = open_folders(tmp_path, None)
    before = state()
    with ThreadPoolExecutor(8) as pool:
        loading = pool.submit(images.load, torch.arange(len(images)), (1, 28, 28))
        while not loading.done():
            with pytest.warns(UserWarning, match="mine"):
                warnings.warn("mine", stacklevel=1)
            Image.open(EXAMPLES[0]).close()
        assert len(loading.result().data) == 400
    assert state() == before


def test_importing_and_explaining_changes_nothing():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_global_state import state; import torch, PIL.Image;"
        "PIL.Image.init(); before = state(); import cfx; next(iter(cfx.explain(sys.argv[2], target=9)));"
        "after = state(); changed = [k for k in before if before[k] != after[k]]; sys.exit(', '.join(changed) or 0)"
    )
    four = next(path for path in EXAMPLES if path.stem == "four")
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(four)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
