"""Captions as a service: an HTTP API, the APIs of others that it speaks, and a page."""
