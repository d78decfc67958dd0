"""The demo: a web page that animates pictures."""
