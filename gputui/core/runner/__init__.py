"""How a workload runs on a machine: the harness, what is said to it, and the log that comes back."""
