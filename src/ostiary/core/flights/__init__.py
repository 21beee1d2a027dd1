"""Flights: what is remembered of sign-ins, refusals and failed connections, and how it is told."""
