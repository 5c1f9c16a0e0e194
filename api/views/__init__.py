"""What does the service send? The schemas of answers, as JSON and as files."""
