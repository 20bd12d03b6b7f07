"""The command line. Each command has one file for its options and one for its work; terminal/ holds all Rich code."""
