"""Decoded image → network input. Pure functions of arrays: no I/O, no spec, no network names."""
