"""Preprocessing: one video in, its clips out (paper A.4); and the building of a whole clip store."""
