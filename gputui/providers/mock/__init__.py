"""A make-believe cloud on this machine: always there, needs no key and no network, costs nothing."""
