"""Long streams put together from clips as the daemon would hear them, with targets for every frame."""
