"""Preprocessing: from one video to its clips (paper A.4), and from many videos to a clip store."""
