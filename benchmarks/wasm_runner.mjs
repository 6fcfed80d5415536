// Runs ONNX files in onnxruntime-web's WASM build, one thread, for benchmarks/wasm.py.
// node wasm_runner.mjs JOBS.json: a list of {model (a file or an address), input, type, shape, data (a file of raw
// values), rounds}.
// Prints a list of {outputs: {name: [values]}, ms}, ms being the median of the rounds.
import * as ort from "onnxruntime-web/wasm";
import { readFileSync } from "node:fs";

const ARRAYS = { uint8: Uint8Array, float32: Float32Array };

function median(values) {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const results = [];
let session, opened;
for (const job of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  if (job.model !== opened) {
    const file = job.model.startsWith("http") ? await fetched(job.model) : readFileSync(job.model);
    await session?.release();
    session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
    opened = job.model;
  }
  const bytes = readFileSync(job.data);
  const values = new ARRAYS[job.type](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const feeds = { [job.input]: new ort.Tensor(job.type, values, job.shape) };
  let outputs = await session.run(feeds); // warms up
  const times = [];
  for (let round = 0; round < job.rounds; round += 1) {
    const before = performance.now();
    outputs = await session.run(feeds);
    times.push(performance.now() - before);
  }
  // JSON has no BigInt, which int64 outputs are made of.
  const lists = Object.entries(outputs).map(([name, tensor]) => [name, Array.from(tensor.data, Number)]);
  results.push({ outputs: Object.fromEntries(lists), ms: times.length ? median(times) : null });
}
console.log(JSON.stringify(results));
