"""Anthropic's Messages dialect for clients: `/v1/messages` and `/v1/messages/count_tokens`."""
