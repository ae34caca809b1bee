"""Models judged as the daemon runs them: on streams, with state carried."""
