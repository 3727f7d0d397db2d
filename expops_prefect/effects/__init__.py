"""Effects: what a task does beside computing, found in its code and observed while its body runs.

A task with an effect is executed every time. What it only reads becomes a dependency of its result.
"""
