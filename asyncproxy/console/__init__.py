"""The console script: what operators ask of a running proxy, over its admin listener."""
