"""What every edge that guards an API shares: where a credential is carried, and what a refusal says."""
