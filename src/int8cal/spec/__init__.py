"""TAO experiment specs (protobuf text): read, check, show, rewrite. Knows nothing of images or of what lies on disk."""
