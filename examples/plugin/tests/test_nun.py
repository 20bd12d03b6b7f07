from cfx.testing import EngineSuite


class TestNearestUnlikeNeighbour(EngineSuite):
    engine = "nun"
