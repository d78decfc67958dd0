"""Sweeps: the chain with many configurations, which differ in a few values, on Ray Tune.

`spec` reads the sweep file, `algorithms` choose values of the `search_space`, `trials` has the configurations and
records of trials, `plan` compares them with what is done, `driver` and `tune` run them, `trial` is one execution, and
`results` and `plots` report.
"""
