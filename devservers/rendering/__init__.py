"""Results as JSON under the contract's names, and as lines for people."""
