"""Results as JSON under the names of docs/reference.md, and as lines for people."""
