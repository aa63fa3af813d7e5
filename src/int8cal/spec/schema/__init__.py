"""The message definitions of the experiment specs, with their tables of checks and legacy fields."""
