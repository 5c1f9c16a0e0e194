"""What leaves the service? The shapes of answers, as JSON and as files."""
