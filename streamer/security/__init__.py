"""Who may come in: keys, the allow list, the check at each connection, and limits."""
