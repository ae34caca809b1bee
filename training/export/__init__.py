"""From trained weights to a bundle that the daemon runs."""
