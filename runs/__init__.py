"""Run directories, labelled inputs, gates and JUnit reports, for every command whose work can be resumed."""
