"""The Huddle GPU API, simulated over the world; written from the Huddle docs and the vendor's own open-source client.

Where those are silent, a default was chosen and a knob turns it (`knobs.py`). Two liberties: a deployment carries an extra
`ssh_port` field while the simulator listens on real loopback addresses, because port 22 needs root there; and webhooks
can be registered but nothing is delivered to them.
"""
