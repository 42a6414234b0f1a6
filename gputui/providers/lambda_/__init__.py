"""Lambda Cloud's API v1: whole machines by the hour, reached over SSH."""
