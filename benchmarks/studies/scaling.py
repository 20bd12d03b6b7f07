"""Checks that the time of a run grows in proportion to the number of images, and that its memory does not grow.

    python -m cfx.benchmarks.studies.scaling --data DIR [--engines vcnet,projection] [--sizes 100,1000,10000]

runs `cfx bench` once for each engine and size, each in a separate process, and prints the seconds of search per image,
the seconds of the whole command, and the peak resident memory of both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ...errors import CfxError
from ..compare import read_finished


@dataclass(frozen=True)
class Point:
    """The measurements of one engine at one size, in seconds and megabytes."""

    engine: str
    images: int
    search_per_image: float
    whole: float
    search_peak: float
    whole_peak: float


def run_once(engine: str, count: int, data: Path, directory: Path) -> Point:
    """Run `cfx bench` in a separate process.

    Raises:
        CfxError: the command failed.
    """
    command = [sys.executable, "-m", "cfx.cli", "bench", "--engines", engine, "-n", str(count), "--no-lpips"]
    command += ["--data", str(data), "--out", str(directory), "--format", "json", "--batch-size", "256"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        highest = 0.0
        while process.poll() is None:  # the search resets the system's own peak, so it is measured here
            highest = max(highest, resident(process.pid))
            time.sleep(0.05)
        output = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise CfxError(f"{' '.join(command)}: exit code {process.returncode}; {output.strip()}")
    whole = time.perf_counter() - began
    columns = read_finished(directory).columns[engine]
    per_second, peak = columns.sets["images_per_second"], columns.sets["peak_memory_mb"]
    if per_second is None or peak is None:
        raise CfxError(f"{directory}: this system does not report the peak memory of a process")
    return Point(engine, len(columns.valid), 1 / per_second, whole, peak, highest)


def resident(process: int) -> float:
    """Resident memory of a process in megabytes; 0 if the process has ended or the system does not report it."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.scaling", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    parser.add_argument("--engines", default="vcnet,projection")
    parser.add_argument("--sizes", default="100,1000,10000")
    options = parser.parse_args()
    print("| engine | images | search, ms per image | whole command, s | peak in search, MB | peak in all, MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for engine in options.engines.split(","):
            for size in options.sizes.split(","):
                p = run_once(engine, int(size), options.data, Path(directory) / f"{engine}-{size}")
                times = f"{1000 * p.search_per_image:.2f} | {p.whole:.1f}"
                print(f"| `{engine}` | {p.images} | {times} | {p.search_peak:.0f} | {p.whole_peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
