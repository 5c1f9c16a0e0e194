"""What is kept of a job beside its rows? Checkpoints in the storage, and logs."""
