"""What the rest stands on: output files, locks, signals, progress, safe text, optional imports."""
