"""The JSON API: programs read with a key, and write with the token of a person who agreed."""
