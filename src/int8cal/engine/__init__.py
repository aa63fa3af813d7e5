"""How batches get made: on threads here, or by NVIDIA's own command."""
