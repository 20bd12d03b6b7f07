"""Reports: pages made of sections, tables in every format, run directories, gates and JUnit."""
