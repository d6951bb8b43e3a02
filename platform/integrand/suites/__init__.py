"""Many runs: expand a suite into cells, launch each as one process, skip what is done.

The core knows no engine: a cell is a command with a key, a launcher runs commands, and the tracking store
says which keys have a finished run.
"""
