"""What happens to every request, whatever it asks? Layers around the app, and the state that they share."""
