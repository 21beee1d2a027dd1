"""Ostiary and its peers under the same work, in one run: `make bench`, or `python -m bench --help`."""
