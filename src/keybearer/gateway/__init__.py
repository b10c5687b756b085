"""The gateway: a streaming reverse proxy that decides who may pass, and knows secrets that clients never see."""
