"""The way out: typed messages, the addresses they go to, and the socket that sends them."""
