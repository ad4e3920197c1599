"""What a checkout brought along runs in a hook only after a person ran it by hand."""
