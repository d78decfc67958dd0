"""Evaluation of animations: reenactments, measures against the truth, and tables of figures with their intervals.

`load_metrics(names).score(VideoPair(...))` measures one video, `summarise(scores)` all of them; `match_videos` and
`read_pair` take the videos from two folders.
"""
