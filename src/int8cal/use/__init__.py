"""What a tensorfile is for: INT8 models, caches, comparisons, exports. Imports the tensorfile stage only."""
