"""Damaged inputs for every reader, by the hundred thousand: `make fuzz MINUTES=n`, or ``python -m tests.fuzz --help``.

A *driver* (a module in `drivers`, with a `DRIVER`) says what one reader is fed with and what may come of it. `loop` is
what a child process does: make an input, feed it, look at the outcome. `__main__` starts the children, ends those that
hang, and counts. What was found is written to a folder; once mended, the input is kept in `tests/fuzz/kept/DRIVER/`,
where `tests/hostile/test_kept.py` feeds it again in every run of the tests.
"""
