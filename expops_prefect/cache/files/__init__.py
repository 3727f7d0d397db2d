"""Files and folders as results: stored with the result of a task, and put back on a hit.

A task that returns a :class:`~expops_prefect.fingerprint.files.DataFile` leaves a file or folder behind. It goes this
way:

1. :mod:`.produced`: when the body has returned, what it wrote is compared with what it returned. What it wrote and
   returned is part of its result, and writing it is no effect. What it returned and did not write is a dependency.
2. :mod:`.storing`: the contents become objects that are named by their digests; the record gets the list of them.
3. :mod:`.restoring`: on a hit, what is missing or differs is put back, whole or not at all.

:mod:`.tree` reads folders, for both sides. The list is described in :mod:`expops_prefect.record.file_lists`.
"""
