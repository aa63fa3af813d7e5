"""The networks that int8cal knows, one file each, and the registry that finds them."""
