"""What can a route take as a parameter? A session, the caller's key, a job that they may see, a rate limit."""
