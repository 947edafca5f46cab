"""Logs in, histories and candidates out."""
