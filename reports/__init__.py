"""Pages of sections, the summary of a run, tables in every format, plots."""
