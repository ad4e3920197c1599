"""Which worktree has which port of the pool: claims on disk, assignment, and who listens."""
