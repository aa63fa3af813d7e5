"""What a plan is made from: an experiment spec, or whatever else gives samples, their order and an arithmetic."""
