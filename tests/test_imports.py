"""What may look at what, beyond the floors that import-linter holds."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp

from cfx.bundles.known_parts import JUDGES
from cfx.counterfactuals.registry import engine_names, load_engine


def test_there_is_no_import_circle():
    """Inside rooms too, whatever is imported inside functions or only for the type checker."""
    graph = grimp.build_graph("cfx", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


def test_no_installed_engine_needs_a_judge():
    assert {"judge", "second_judge", "referee", "retrained", "autoencoders", "reference"} == JUDGES
    for name in engine_names():
        assert JUDGES.isdisjoint(load_engine(name).needs), name
