"""The board: every worktree at a glance in a browser, from a server of its own on loopback."""
