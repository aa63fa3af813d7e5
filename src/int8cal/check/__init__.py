"""Is a tensorfile right? Rebuild and compare, and checks of sense."""
