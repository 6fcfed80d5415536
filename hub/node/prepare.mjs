// Images as transformers.js prepares them, for hub/transformers_js.py, which evaluates this where npm installed the package.
// Arguments: an ONNX folder, the file that gets the pixels (float32, one image behind the other), and images.
import { appendFileSync } from "node:fs";
import { AutoProcessor, RawImage, env } from "@huggingface/transformers";

const [folder, pixels, ...images] = process.argv.slice(1);
env.allowRemoteModels = false;
const processor = await AutoProcessor.from_pretrained(folder);
for (const path of images) {
  const { pixel_values } = await processor(await RawImage.read(path));
  appendFileSync(pixels, pixel_values.data);
}
