"""From outcomes to transactions."""
