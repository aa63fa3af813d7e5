"""What a tensorfile is for: INT8 models, caches, comparisons, exports. Of ours it imports tensorfile and errors only."""
