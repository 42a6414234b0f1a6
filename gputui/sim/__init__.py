"""The simulated world: stands in for clouds and machines in tests and in the demo. Nothing else imports it."""
