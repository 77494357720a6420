"""Ready-to-paste calls, shown on pages."""

from __future__ import annotations

import json


def curl(base_url: str, model: str) -> str:
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hello"}]}, indent=2
    )
    return (
        f"curl {base_url}/chat/completions \\\n"
        '  -H "Authorization: Bearer $PANELBOARD_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def python(base_url: str, model: str) -> str:
    return f"""import os
from openai import OpenAI

client = OpenAI(
    base_url="{base_url}",
    api_key=os.environ["PANELBOARD_API_KEY"],
)
answer = client.chat.completions.create(
    model="{model}:cheapest",
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)"""


def rest(url: str) -> str:
    return f'curl "{url}" \\\n  -H "Authorization: Bearer $PANELBOARD_REST_TOKEN"'
