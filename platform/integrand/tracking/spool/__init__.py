"""What a run writes: an append-only file on the local disk first, and from there to the tracking store."""
