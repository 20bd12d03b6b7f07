"""The conformance suite for engines: a class whose tests every engine passes, those of other packages included.

    from cfx.testing import EngineSuite
    class TestMyEngine(EngineSuite):
        engine = "my-engine"

It needs pytest (`pip install cfx-toolkit[testing]`), and nothing else in cfx does.
"""

import pytest

pytest.register_assert_rewrite("cfx.testing.suite")  # so that a law that fails shows its values

from .suite import EngineSuite  # noqa: E402

__all__ = ["EngineSuite"]
