"""Adoption: artifacts that were made elsewhere are looked at, verified and taken into the store."""
