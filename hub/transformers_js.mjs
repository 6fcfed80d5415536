// The logits that transformers.js gives for images, for hub/transformers_js.py, which evaluates this where npm installed
// the package. Arguments: an ONNX folder, and images.
import { AutoModelForImageClassification, AutoProcessor, RawImage, env } from "@huggingface/transformers";

const [folder, ...images] = process.argv.slice(1);
env.allowRemoteModels = false;
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageClassification.from_pretrained(folder);
const logits = [];
for (const path of images) {
  const { logits: found } = await model(await processor(await RawImage.read(path)));
  logits.push(found.tolist()[0]);
}
console.log(JSON.stringify({ version: env.version, logits }));
