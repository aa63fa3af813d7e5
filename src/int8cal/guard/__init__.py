"""What stands between hostile bytes and the plain readers."""
