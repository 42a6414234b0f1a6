"""Vast.ai's marketplace API: containers on other people's machines, reached over SSH."""
