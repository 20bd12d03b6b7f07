"""Reports of runs: pages, tables in every format, run directories, gates and JUnit files."""
