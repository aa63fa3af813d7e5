"""What a tensorfile is for: INT8 models, caches, comparisons, exports. Imports nothing of ours but tensorfile and errors."""
