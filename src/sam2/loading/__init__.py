"""From what a user writes (a YAML name, a path, a dict, override strings) to a configuration of the network."""
