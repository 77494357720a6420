// openai

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as c from "./checks.mjs";

const client = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.KEY, maxRetries: 0 });
const ASKED = [{ role: "user", content: c.HELLO }];
const TOOL = {
  type: "function",
  function: { name: "get_weather", description: "The weather", parameters: c.CITY_SCHEMA },
};

c.perDialect("chat", async (model) => {
  const answer = await client.chat.completions.create({ model, messages: ASKED });
  assert(answer.choices[0].message.content);
  assert(answer.usage.completion_tokens > 0);
});

c.perDialect("streaming", async (model) => {
  const plain = await client.chat.completions.create({ model, messages: ASKED });
  const stream = await client.chat.completions.create({
    model,
    messages: ASKED,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, plain.choices[0].message.content);
  assert.equal(usage.completion_tokens, plain.usage.completion_tokens);
});

c.perDialect("tools", async (model) => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model,
    messages: [{ role: "user", content: c.WEATHER_QUESTION }],
    tools: [
      {
        type: "function",
        function: {
          ...TOOL.function,
          parse: JSON.parse,
          function: ({ city }) => (asked.push(city), c.WEATHER),
        },
      },
    ],
  });
  assert(await runner.finalContent());
  assert.equal(asked.length, 1);
  assert.equal(typeof asked[0], "string");
});

c.perDialect("streamed_tools", async (model) => {
  const messages = [{ role: "user", content: c.WEATHER_QUESTION }];
  const stream = client.chat.completions.stream({ model, messages, tools: [TOOL] });
  const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
});

c.perDialect("structured_output", async (model) => {
  const panel = z.object({ name: z.string(), circuits: z.number().int() });
  const answer = await client.chat.completions.parse({
    model,
    messages: ASKED,
    response_format: zodResponseFormat(panel, "panel"),
  });
  assert(c.isPanel(answer.choices[0].message.parsed));
});

c.perDialect("responses", async (model) => {
  const plain = await client.responses.create({ model, input: c.HELLO, store: false });
  const stream = client.responses.stream({ model, input: c.HELLO, store: false });
  assert(plain.output_text);
  assert.equal((await stream.finalResponse()).output_text, plain.output_text);
});

// This client asks for base64 of its own accord and decodes it.
c.once("embeddings", async () => {
  const input = ["one", "two"];
  const answer = await client.embeddings.create({ model: c.EMBEDDING_MODEL, input });
  assert.deepEqual(
    answer.data.map((one) => one.index),
    [0, 1],
  );
  assert(answer.data[0].embedding.length > 100);
  assert.equal(typeof answer.data[0].embedding[0], "number");
});

c.once("models", async () => {
  const found = [];
  for await (const model of client.models.list()) found.push(model.id);
  assert(found.length > 20);
});

c.once("wrong_key", async () => {
  const stranger = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.WRONG_KEY, maxRetries: 0 });
  await c.raised(OpenAI.AuthenticationError, () => stranger.models.list());
});

c.once("unknown_model", async () => {
  const error = await c.raised(OpenAI.NotFoundError, () =>
    client.chat.completions.create({ model: c.UNKNOWN_MODEL, messages: ASKED }),
  );
  assert.equal(error.code, "model_not_found");
});

c.once("bad_request", async () => {
  const messages = [{ role: "wizard", content: "hi" }];
  const error = await c.raised(OpenAI.BadRequestError, () =>
    client.chat.completions.create({ model: "openai/gpt-oss-120b", messages }),
  );
  assert.match(error.message, /wizard/);
});

await c.run();
