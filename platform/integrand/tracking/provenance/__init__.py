"""Where a run comes from: code, environment, device and configuration."""
