"""The RunPod REST API, version 2, simulated over the world; written from its OpenAPI document (2.0.0, August 2026) and docs.

Where those are silent, a default was chosen and a knob turns it (`knobs.py`). A pod is a container whose image is the
machine: what it prints is made up (`container.py`), nothing it is told to run is executed. Of GraphQL there is the query
for the balance. Liberties: GPUs of a type in a data center are one pool, not hosts; every image boots in the world's own
time; the default command of RunPod's own images starts an sshd, and no other image or command does unless it says so. Left
out are CPU pods (never placed), clusters, serverless, templates (none exist) and registries.
"""
