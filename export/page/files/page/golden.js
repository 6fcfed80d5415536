// The golden kit in this browser: decoding against training's pixels, and the model against training's probabilities.

import { decode, DecodeError } from "./decode.js";
import { fetched } from "./model.js";

const largest = (ours, theirs) =>
  ours.length === theirs.length ? ours.reduce((most, value, index) => Math.max(most, Math.abs(value - theirs[index])), 0) : Infinity;

const names = (labels, decision) => decision.map((index) => labels[index]).join("|");

async function decoded(name) {
  const file = await (await fetched(`golden/${name}`)).blob();
  try {
    return await decode(file);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** One image: {name, purpose, levels, difference, together, decision, ms}, each with what is allowed. */
async function check(model, labels, entry, expected, allowed) {
  const kept = await decoded(entry.rgb); // a PNG of plain RGB: any browser gives it as it is
  const started = performance.now();
  const own = await decoded(entry.file);
  const together = own && (await model.run(own));
  const ms = performance.now() - started;
  const found = await model.run(kept);
  const sameSize = own && own.width === kept.width && own.height === kept.height;
  return {
    name: entry.name,
    purpose: entry.purpose,
    lossy: entry.file.endsWith(".jpg"),
    levels: { found: sameSize ? largest(own.rgb, kept.rgb) : Infinity, allowed: entry.tolerance.decode },
    difference: { found: largest(found.probabilities, expected.probabilities), allowed },
    decision: { found: names(labels, found.decision), expected: expected.decision.join("|") },
    together: together ? largest(together.probabilities, expected.probabilities) : null,
    ms,
  };
}

/** True where a number is one, and as near as it has to be. */
export const near = ({ found, allowed }) => found <= allowed;

export const passed = (row) => near(row.levels) && near(row.difference) && row.decision.found === row.decision.expected;

/** Each image's row, as it comes. */
export async function* checks(model, settings) {
  const digest = await model.digest();
  if (digest && digest !== settings.digest) throw new Error(`${settings.model} has changed since the page was made`);
  const index = await (await fetched("golden/index.json")).json();
  for (const entry of index.images) {
    yield await check(model, index.labels.names, entry, settings.expected[entry.name], settings.difference);
  }
}

/** What all rows say, in a sentence or two. */
export function verdict(rows) {
  const failed = rows.filter((row) => !passed(row));
  if (!failed.length) return `All good: this browser gives what training gave on all ${rows.length} images.`;
  const step = failed.some((row) => !near(row.levels)) ? "decoding" : "running the model";
  const models = failed.filter((row) => !near(row.difference) || row.decision.found !== row.decision.expected);
  const decoding = `The model gives what it gave in training; decoding ${failed.map((row) => row.name).join(", ")} does not.`;
  return `${failed.length} of ${rows.length} images differ. ${models.length ? `The first to look at: ${step} (${failed[0].name}).` : decoding} golden/README.md in the release says what it usually is.`;
}

/** What this browser does with JPEG. */
export function jpeg(rows) {
  const lossy = rows.filter((row) => row.lossy);
  const levels = Math.max(...lossy.map((row) => row.levels.found));
  const moved = Math.max(...lossy.map((row) => row.together ?? Infinity));
  return `this browser's are up to ${levels} off, which moves a probability by at most ${moved.toPrecision(2)}`;
}
