"""The mathematics: specs, energies, regularizers, models and the training loop. Empty of imports on purpose."""
