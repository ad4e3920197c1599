"""What spans the worktrees of a repository: all of them at a glance, and what lost ones left."""
