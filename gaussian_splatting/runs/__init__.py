"""A training run on disk: its folder, its lock, how it starts, stops, fails and goes on."""
