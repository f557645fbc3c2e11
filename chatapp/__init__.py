"""chatapp: a self-hosted chat site for local language models."""

__version__ = "0.1.0"
