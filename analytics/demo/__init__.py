"""A history to look at: simulated traffic with planted facts, through the real records and shipping.

Everything is marked simulated, belongs to an organization of its own and costs what usage times the
price rows in force give. The same seed and last day tell the same story, so planting it twice
changes nothing.
"""
