"""Decisions and talk."""
