"""The tasks: each file begins with what it shows, which is its help, and holds one `TASK`."""
