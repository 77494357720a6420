from __future__ import annotations

from routing.simulator.dialects.anthropic import AnthropicDialect
from routing.simulator.dialects.gemini import GeminiDialect
from routing.simulator.dialects.openai import OpenAIDialect
from routing.simulator.session import Dialect

DIALECTS: dict[str, Dialect] = {
    "openai_compat": OpenAIDialect(),
    "anthropic": AnthropicDialect(),
    "gemini": GeminiDialect(),
}
