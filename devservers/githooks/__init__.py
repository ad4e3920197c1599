"""git's hooks: putting ours in, what they may start, and repeating a proof at once."""
