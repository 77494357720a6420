"""OpenAI's Responses, for providers that take it beside chat: only in their clients' own words."""
