"""Who may use the service, how often, and what did they do? Keys, rate limits, idempotency and the audit log."""
