// What the clients' scripts share: each check prints one JSON line, and none stops the next.

import assert from "node:assert/strict";

export const URL = process.env.HUB_URL;
export const KEY = process.env.HUB_KEY;
export const WRONG_KEY = "pb_live_" + "x".repeat(46);
export const MODELS = JSON.parse(process.env.HUB_MODELS); // by the dialect of its provider
export const EMBEDDING_MODEL = process.env.HUB_EMBEDDING_MODEL;
export const UNKNOWN_MODEL = "nobody/nothing";
export const HELLO = "Describe a panelboard in two sentences.";
export const WEATHER_QUESTION = "What is the weather in Oslo?";
export const WEATHER = "4 C and rain";
export const CITY_SCHEMA = {
  type: "object",
  properties: { city: { type: "string", description: "Name of the city" } },
  required: ["city"],
  additionalProperties: false,
};
export const PANEL_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, circuits: { type: "integer" } },
  required: ["name", "circuits"],
  additionalProperties: false,
};

const checks = [];

// A check that has nothing to do with the provider's dialect.
export function once(name, check) {
  checks.push([name, check]);
}

// A check with a model of each dialect.
export function perDialect(name, check) {
  for (const [dialect, model] of Object.entries(MODELS)) {
    checks.push([`${name} ${dialect}`, () => check(model)]);
  }
}

// The error, which has to be of this class.
export async function raised(expected, call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    assert(error instanceof expected, `not ${expected.name}, but ${error.stack}`);
    return error;
  }
  throw new Error(`no ${expected.name}, but ${JSON.stringify(answer)}`);
}

export function isPanel(value) {
  return typeof value.name === "string" && Number.isInteger(value.circuits);
}

export async function run() {
  for (const [name, check] of checks) {
    let outcome = { check: name, ok: true };
    try {
      await check();
    } catch (error) {
      outcome = { check: name, ok: false, why: String(error.stack).slice(0, 3000) };
    }
    console.log(JSON.stringify(outcome));
  }
  console.log(JSON.stringify({ checks: checks.length }));
}
