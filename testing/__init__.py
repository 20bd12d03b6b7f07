"""The conformance suite for engines: a class whose tests every engine passes, those of other packages included.

    from cfx.testing import EngineSuite
    class TestMyEngine(EngineSuite):
        engine = "my-engine"

It needs pytest (`pip install cfx-toolkit[testing]`), and nothing else in cfx does.
"""

from .suite import EngineSuite

__all__ = ["EngineSuite"]
