"""What must hold when many do the same thing at the same moment, or die while they do it."""
