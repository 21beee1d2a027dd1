"""Decisions without I/O: no asyncio, socket, ssl, time, os, random or logging; `now` and entropy are arguments."""
