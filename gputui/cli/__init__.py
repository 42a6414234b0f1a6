"""The command line: one file per noun, data on stdout, talk on stderr."""
