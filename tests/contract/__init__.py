"""What every engine behind a port must do alike."""
