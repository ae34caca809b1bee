"""One module a layout; each takes a folder and options and gives a Dataset."""
