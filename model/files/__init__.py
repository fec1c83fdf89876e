"""Weights on disk and from the network."""
