"""The TensorDock API, simulated over the world: v2 whole but for changing a machine's size, and v0's key check and balance.

Written from TensorDock's documentation pages and storefront template and from what public clients report of the live
API. Where those disagree, the default is what was seen live; where they are silent, a default was chosen; a knob turns
either (`knobs.py`). Left out: machines without a GPU, spot prices, and rate-limit headers, whose names nobody wrote down.

One liberty: while the simulator listens on real loopback addresses, port 22 needs root there, so a machine's forward of
port 22 leads to where its SSH server really is, and a machine with a dedicated address, which needs no forward, has one.
"""
