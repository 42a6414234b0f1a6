"""gputui: every GPU cloud you have an account with, in one terminal."""

__version__ = "0.1.0"
