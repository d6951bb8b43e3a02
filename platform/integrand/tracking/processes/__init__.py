"""The processes that write a run: whether they live, how they end, and what becomes of their run."""
