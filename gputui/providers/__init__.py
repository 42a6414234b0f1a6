"""One folder per provider: `wire.py` (its JSON), `mapping.py` (pure, to our words), `client.py` (I/O only)."""
