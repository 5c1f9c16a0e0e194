"""What is kept of a job besides its rows? Checkpoints in the storage, and logs."""
