"""Faults: damaged files, killed processes and full disks; what comes of them is counted (docs/reliability.md)."""
