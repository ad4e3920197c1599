"""What coding agents read of a repository's servers: made from its configuration, kept current."""
