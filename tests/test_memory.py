"""What the system says of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from cfx.memory import available

CPU = torch.device("cpu")


def test_something_is_available():
    free = available(CPU)
    assert free is not None and 2**20 < free < 2**50


PROGRAM = """
import torch
from cfx.memory import peak, restart_peak
cpu = torch.device("cpu")
restart_peak(cpu)
before = peak(cpu)
large = torch.ones(25_000_000)
during = peak(cpu)
del large
restart_peak(cpu)
print(before, during, peak(cpu))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux restarts its count of the peak")
def test_the_peak_is_that_of_now():
    """In a process of its own: one that keeps freed memory has it in hand already."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, during, after = (int(word) for word in done.stdout.split())
    assert during - before > 90e6 and during - after > 50e6
