"""Studies, which are run from a clone: other tools on the same questions, overhead, scaling, letters, captures."""
