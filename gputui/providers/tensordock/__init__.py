"""TensorDock: whole machines on the hosts of many owners, priced by the part, reached over SSH."""
