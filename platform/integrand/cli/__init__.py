"""The `integrand` command: a light front that imports torch and Lightning only where a command needs them."""
