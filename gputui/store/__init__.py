"""The only truth: one SQLite database per profile, and one module of queries per table family."""
