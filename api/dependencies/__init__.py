"""What does a route hold? A session, who asks, whose job it is, and how often they may ask: parameters of routes."""
