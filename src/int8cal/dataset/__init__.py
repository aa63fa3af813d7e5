"""A typed spec → the ordered samples of a split. Nothing is decoded here but in decode and pictures."""
