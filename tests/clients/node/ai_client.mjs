// ai with @ai-sdk/openai-compatible

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, embedMany, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import * as c from "./checks.mjs";

const opened = (apiKey) =>
  createOpenAICompatible({
    name: "hub",
    baseURL: `${c.URL}/v1`,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const hub = opened(c.KEY);
const PANEL = z.object({ name: z.string(), circuits: z.number().int() });
const ask = (model, more) => ({ model: hub(model), prompt: c.HELLO, maxRetries: 0, ...more });

function weather(asked) {
  return tool({
    description: "The weather",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => (asked.push(city), c.WEATHER),
  });
}

c.perDialect("chat", async (model) => {
  const answer = await generateText(ask(model));
  assert(answer.text);
  assert(answer.usage.outputTokens > 0);
});

c.perDialect("streaming", async (model) => {
  const plain = await generateText(ask(model));
  const stream = streamText(ask(model));
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.equal(text, plain.text);
  assert.equal((await stream.usage).outputTokens, plain.usage.outputTokens);
});

c.perDialect("tools", async (model) => {
  const asked = [];
  const answer = await generateText(
    ask(model, {
      prompt: c.WEATHER_QUESTION,
      tools: { get_weather: weather(asked) },
      stopWhen: isStepCount(3),
    }),
  );
  assert.equal(asked.length, 1);
  assert(answer.text);
});

c.perDialect("streamed_tools", async (model) => {
  const asked = [];
  const stream = streamText(
    ask(model, {
      prompt: c.WEATHER_QUESTION,
      tools: { get_weather: weather(asked) },
      stopWhen: isStepCount(3),
    }),
  );
  assert(await stream.text);
  assert.equal(asked.length, 1);
});

c.perDialect("structured_output", async (model) => {
  const answer = await generateText(ask(model, { output: Output.object({ schema: PANEL }) }));
  assert(c.isPanel(answer.output));
});

c.once("embeddings", async () => {
  const model = hub.embeddingModel(c.EMBEDDING_MODEL);
  const found = await embedMany({ model, values: ["one", "two"], maxRetries: 0 });
  assert.equal(found.embeddings.length, 2);
  assert(found.embeddings[0].length > 100);
});

c.once("wrong_key", async () => {
  const model = opened(c.WRONG_KEY)("openai/gpt-oss-120b");
  const error = await c.raised(APICallError, () => generateText(ask("", { model })));
  assert.equal(error.statusCode, 401);
});

c.once("unknown_model", async () => {
  const error = await c.raised(APICallError, () => generateText(ask(c.UNKNOWN_MODEL)));
  assert.equal(error.statusCode, 404);
  assert.match(error.responseBody, /model_not_found/);
});

c.once("bad_request", async () => {
  const model = "openai/gpt-oss-120b";
  const error = await c.raised(APICallError, () => generateText(ask(model, { temperature: 17 })));
  assert.equal(error.statusCode, 400);
});

await c.run();
