"""The Anthropic Messages dialect, translated from and to OpenAI chat."""
