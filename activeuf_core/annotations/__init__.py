"""Annotations: the judge rates every completion."""
