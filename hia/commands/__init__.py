"""The verbs of the `hia` command, a module each: `add_arguments(parser)` and `run(arguments)`."""
