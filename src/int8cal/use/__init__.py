"""What a tensorfile is for: INT8 models, caches, comparisons, exports. Builds on tensorfile alone."""
