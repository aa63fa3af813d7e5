"""Experiment specs in YAML (TAO 5 to 7): text with positions, schema, interpolations, edits of single values."""
