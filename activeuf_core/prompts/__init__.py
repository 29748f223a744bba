"""Prompts: read from a source, cleaned, each with an id."""
