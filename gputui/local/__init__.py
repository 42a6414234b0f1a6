"""The machine this program runs on: folders, configuration, secrets, SSH, the clock and the agent's process."""
