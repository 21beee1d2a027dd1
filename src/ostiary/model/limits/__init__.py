"""Every bound Ostiary sets, named, with its reason. Sizes in bytes, times in seconds.

A bound that users may want to move is also a configuration field; the value here is its default. One file a subject;
whoever uses one says `limits.NAME`.
"""

# ruff: noqa: F403 - a name that stood in two files would be found by tests/test_architecture.py
from ostiary.model.limits.connections import *
from ostiary.model.limits.log_reading import *
from ostiary.model.limits.process import *
from ostiary.model.limits.requests import *
from ostiary.model.limits.sign_in import *
