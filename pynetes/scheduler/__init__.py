"""The scheduler: a queue of pods, columns of nodes, plugins that reject and score, and binding beside it all."""
