"""What happens to every request? Layers around the app, and the state that they share."""
