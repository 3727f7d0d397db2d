"""Values of many libraries: what a task can tell apart must differ, in every process alike."""
