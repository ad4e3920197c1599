"""The front door: one address that stays and leads to the worktree in use, and a name for each."""
