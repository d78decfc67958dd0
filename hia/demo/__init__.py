"""The animator on a web page."""
