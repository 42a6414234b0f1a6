"""Huddle01 Cloud's GPU API: whole machines by the hour, reached over SSH."""
