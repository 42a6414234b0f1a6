"""RunPod's REST API v2: containers by the second, in RunPod's own data centres or on other people's hosts."""
