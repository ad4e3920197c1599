"""Servers that the configuration declares: `servers` in the file, the whole lifecycle for each."""
