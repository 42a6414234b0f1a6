"""Seeded torture of the whole agent over the simulated world: thousands of histories, each checked against the truth."""
