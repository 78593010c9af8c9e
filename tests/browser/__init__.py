"""The pages, walked in a real Chromium against real processes."""
