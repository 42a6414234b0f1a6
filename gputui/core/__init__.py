"""What the product does: pure decisions (routing, metering) and the doing (catalog, jobs, the agent's loop)."""
