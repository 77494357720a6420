"""Whole batches, as OpenAI and Anthropic take them: half an answer's price, later.

The answers are worked out when the batch is due. Each line has a row of its own in the journal, with
the line's `custom_id` as the caller's request id and the tier `batch`.
"""
