"""Studies that are run from a clone: other tools on the same questions, cost, scaling, letters, captures."""
