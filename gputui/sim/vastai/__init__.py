"""The Vast.ai marketplace API (v0 and v1), simulated over the world; written from Vast.ai's documents and OpenAPI file, its own
open-source client, and what users of the API have published.

Where those are silent or disagree, a default was chosen and a knob turns it (`knobs.py`). Liberties: every offer is a host's
machine of its own, so `disable_bundling` changes nothing; while the simulator listens on real loopback addresses the SSH
proxy is the machine's own address; a log's file lies at the simulator instead of S3. Left out: templates, prepaid discounts,
snapshots, `ls`/`rm`/`du` over HTTP, copying, price increases, teams, host and serverless calls.
"""
