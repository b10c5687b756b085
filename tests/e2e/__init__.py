"""The running system from the outside: real servers, real proxies, real clients."""
