"""Which networks can be trained, what each costs, and the one that only hears whole clips."""
