"""Configurations of any dialect to facts, each with its place; files, config_dumps and parts of either alike."""
