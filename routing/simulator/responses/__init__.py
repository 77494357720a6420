"""OpenAI's Responses, as the provider itself speaks it: checked on the way in, told in events."""
