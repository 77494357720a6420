"""The OpenAI chat dialect, as spoken by most hosts; a quirk record says where one deviates."""
