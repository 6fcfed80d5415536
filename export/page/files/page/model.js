// An rgb.onnx in onnxruntime-web, on one thread of WASM: decoded pixels in, probabilities and decision out.

const RUNTIME = new URL("../runtime/", import.meta.url);
const LIBRARY = "ort.wasm.bundle.min.mjs";
const WASM = "ort-wasm-simd-threaded.wasm";
const DIGESTS = {
  [LIBRARY]: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
  [WASM]: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
};
const RELEASE = new URL("../", import.meta.url);

/** A file of the release, or an error that names it. */
export async function fetched(name) {
  const answer = await fetch(new URL(name, RELEASE)).catch(() => null);
  if (!answer?.ok) throw new Error(`${name} cannot be loaded: serve the whole folder, for example with \`pocketeva page\``);
  return answer;
}

/** A file of the runtime, whose digest the browser checks. */
async function ofRuntime(name) {
  const answer = await fetch(new URL(name, RUNTIME), { integrity: DIGESTS[name] });
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.arrayBuffer();
}

async function runtime() {
  try {
    const [wasm] = await Promise.all([ofRuntime(WASM), ofRuntime(LIBRARY)]);
    const ort = await import(new URL(LIBRARY, RUNTIME)); // after its digest was found right: import() takes none
    ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
    ort.env.wasm.wasmBinary = wasm;
    return ort;
  } catch (error) {
    throw new Error(
      "onnxruntime-web is not there, or is not the version that this page was made for: runtime/ is missing or changed. " +
        `\`pocketeva page\` serves this folder with it, and \`pocketeva push\` puts it in. (${error.message})`,
    );
  }
}

/** Open the model. */
export async function open(path) {
  const [ort, bytes] = await Promise.all([runtime(), fetched(path).then((answer) => answer.arrayBuffer())]);
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
  return new Model(ort, session, bytes);
}

class Model {
  constructor(ort, session, bytes) {
    this.ort = ort;
    this.session = session;
    this.bytes = bytes;
  }

  /** {probabilities, scores (what thresholds are for), decision} of {width, height, rgb}. */
  async run({ width, height, rgb }) {
    const image = new this.ort.Tensor("uint8", rgb, [height, width, 3]);
    const outputs = await this.session.run({ image });
    const { probabilities, scores, decision } = outputs;
    const numbers = Array.from(decision.data, Number);
    return {
      probabilities: Float32Array.from(probabilities.data),
      scores: Float32Array.from((scores ?? probabilities).data),
      // One index, or a flag for each label of a set in which several may apply.
      decision: decision.type === "bool" ? numbers.flatMap((applies, index) => (applies ? [index] : [])) : numbers,
    };
  }

  /** SHA-256 of the file, in hex; null where the browser gives it to secure pages alone. */
  async digest() {
    if (!globalThis.crypto?.subtle) return null;
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", this.bytes));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}
