"""The one lifecycle of a declared server: look, decide, act, and what it keeps on disk."""
