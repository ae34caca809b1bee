"""Ways out beside the sockets, each an extra, and imported only where the config asks for it."""
