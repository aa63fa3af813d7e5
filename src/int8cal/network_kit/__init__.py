"""What networks are made of: what a network is, and what several of them share. No network is here."""
