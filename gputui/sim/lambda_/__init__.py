"""The Lambda Cloud API, version 1, simulated over the world; written from its OpenAPI document (1.10.0) and Lambda's docs.

Where those are silent, a default was chosen and a knob turns it (`knobs.py`). Liberties: an instance carries an extra
`ssh_port` field while the simulator listens on real loopback addresses, because port 22 needs root there; a generated key
pair is Ed25519, not RSA; user data is checked and then ignored; every instance type boots in the world's own time. Support
tickets and fabric partitions are left out.
"""
