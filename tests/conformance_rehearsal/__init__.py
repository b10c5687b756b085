"""The OpenID Foundation's certification, rehearsed module by module: each test does what a module of a plan does."""
