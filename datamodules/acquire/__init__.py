"""Finding, fetching, checking and keeping the bytes of a data set. Torch-free."""
