"""The dynamic service gateway: who, which service, which contract, quota, forward, meter."""
