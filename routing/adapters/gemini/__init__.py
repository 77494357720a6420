"""Google's generateContent dialect, translated from and to OpenAI chat."""
