"""Sweeps: the chain with many configurations, each trial told apart by a few values, on Ray Tune.

`spec` is what the user writes, `sweep` what follows from it, `search` chooses the values, `work` is what a trial does,
`driver` runs them all, `records` is what is known of each, and `results` and `plots` what is made of that.
"""
