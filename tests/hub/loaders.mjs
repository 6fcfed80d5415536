// transformers.js on the repositories of a server that speaks the Hub's API, for tests/hub/test_loaders.py.
// Argument: a JSON file with the server's address, a folder for its cache, and of each repository images by name.
import { readFileSync } from "node:fs";
import { ModelRegistry, RawImage, env, pipeline } from "@huggingface/transformers";

const job = JSON.parse(readFileSync(process.argv[1], "utf8"));
env.remoteHost = job.host;
env.cacheDir = job.cache;
env.allowLocalModels = false;
const found = {};
for (const [repo, images] of Object.entries(job.repos)) {
  const classify = await pipeline("image-classification", repo);
  const rows = {};
  for (const [name, path] of Object.entries(images)) {
    const { logits } = await classify.model(await classify.processor(await RawImage.read(path)));
    rows[name] = { said: await classify(path), logits: logits.tolist()[0] };
  }
  const wasm = await ModelRegistry.get_pipeline_files("image-classification", repo, { device: "wasm" });
  found[repo] = { rows, wasm };
}
console.log(JSON.stringify(found));
