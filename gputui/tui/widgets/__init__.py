"""Widgets that show; each is told what to show and reports what was chosen."""
