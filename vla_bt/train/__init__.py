"""Teaching policies: practice episodes straight from the simulator, losses, rounds, checkpoints. Holds torch; knows no tree."""
