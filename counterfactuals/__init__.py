"""The contract of engines (engine, problem, goal, curve, settings, registry); `engines/` one file an engine."""
