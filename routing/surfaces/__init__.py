"""The dialects clients speak: each is read into an OpenAI chat request and written back out of one."""
