// @anthropic-ai/sdk

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import * as c from "./checks.mjs";

const client = new Anthropic({ baseURL: c.URL, apiKey: c.KEY, maxRetries: 0 });
const ASKED = [{ role: "user", content: c.HELLO }];
const TOOL = { name: "get_weather", description: "The weather", input_schema: c.CITY_SCHEMA };

const textOf = (message) =>
  message.content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");

c.perDialect("chat", async (model) => {
  const answer = await client.messages.create({ model, max_tokens: 300, messages: ASKED });
  assert(textOf(answer));
  assert(answer.usage.output_tokens > 0);
});

c.perDialect("streaming", async (model) => {
  const asked = { model, max_tokens: 300, messages: ASKED };
  const plain = await client.messages.create(asked);
  const final = await client.messages.stream(asked).finalMessage();
  assert.equal(textOf(final), textOf(plain));
  assert.equal(final.usage.output_tokens, plain.usage.output_tokens);
});

c.perDialect("tools", async (model) => {
  const messages = [{ role: "user", content: c.WEATHER_QUESTION }];
  const asked = { model, max_tokens: 300, tools: [TOOL] };
  const first = await client.messages.create({ ...asked, messages });
  assert.equal(first.stop_reason, "tool_use");
  const call = first.content.find((block) => block.type === "tool_use");
  assert.deepEqual(Object.keys(call.input), ["city"]);
  const result = { type: "tool_result", tool_use_id: call.id, content: c.WEATHER };
  const second = await client.messages.create({
    ...asked,
    messages: [
      ...messages,
      { role: "assistant", content: first.content },
      { role: "user", content: [result] },
    ],
  });
  assert.equal(second.stop_reason, "end_turn");
});

c.perDialect("streamed_tools", async (model) => {
  const messages = [{ role: "user", content: c.WEATHER_QUESTION }];
  const final = await client.messages
    .stream({ model, max_tokens: 300, tools: [TOOL], messages })
    .finalMessage();
  const call = final.content.find((block) => block.type === "tool_use");
  assert.deepEqual(Object.keys(call.input), ["city"]);
});

c.perDialect("structured_output", async (model) => {
  const answer = await client.messages.create({
    model,
    max_tokens: 300,
    messages: ASKED,
    output_config: { format: { type: "json_schema", schema: c.PANEL_SCHEMA } },
  });
  assert(c.isPanel(JSON.parse(textOf(answer))));
});

c.perDialect("counted_tokens", async (model) => {
  assert((await client.messages.countTokens({ model, messages: ASKED })).input_tokens > 0);
});

c.once("wrong_key", async () => {
  const stranger = new Anthropic({ baseURL: c.URL, apiKey: c.WRONG_KEY, maxRetries: 0 });
  await c.raised(Anthropic.AuthenticationError, () =>
    stranger.messages.create({ model: "x", max_tokens: 5, messages: ASKED }),
  );
});

c.once("unknown_model", async () => {
  const error = await c.raised(Anthropic.NotFoundError, () =>
    client.messages.create({ model: c.UNKNOWN_MODEL, max_tokens: 5, messages: ASKED }),
  );
  assert.equal(error.error.error.type, "not_found_error");
});

c.once("bad_request", async () => {
  const messages = [{ role: "wizard", content: "hi" }];
  await c.raised(Anthropic.BadRequestError, () =>
    client.messages.create({ model: c.UNKNOWN_MODEL, max_tokens: 5, messages }),
  );
});

await c.run();
