"""Effects that a task's code tells before it runs, followed through all of the project's own code."""
