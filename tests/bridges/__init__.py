"""Ways out beside the sockets."""
