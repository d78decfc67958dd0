"""How good an animation is: reenactments, measures against the truth, and the figures of tables made of them.

`load_metrics(names).score(VideoPair(...))` measures one video, `summarise(scores)` all of them; `match_videos` and
`read_pair` take the videos from two folders.
"""
