"""What must survive crashes."""
