// The bytes of an image file as 8-bit RGB, upright, transparency over white, without color management: docs/decoding.md,
// as far as a browser lets itself be asked for it. The golden kit says how far that is.

const MOST_PIXELS = 50 * 2 ** 20;
const MOST_SIDE = 65535;
const STRIP = 2 ** 20; // pixels drawn at a time: browsers limit the area of a canvas

const FORMATS = [
  ["JPEG", 0, [0xff, 0xd8, 0xff]],
  ["PNG", 0, [0x89, 0x50, 0x4e, 0x47]],
  ["GIF", 0, [0x47, 0x49, 0x46, 0x38]],
  ["BMP", 0, [0x42, 0x4d]],
  ["WebP", 8, [0x57, 0x45, 0x42, 0x50]],
  ["TIFF", 0, [0x49, 0x49, 0x2a, 0]],
  ["TIFF", 0, [0x4d, 0x4d, 0, 0x2a]],
];
const HEIC = ["heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"];

/** A file that is refused, and why. */
export class DecodeError extends Error {}

function formatOf(bytes) {
  const found = FORMATS.find(([, start, magic]) => magic.every((value, index) => bytes[start + index] === value));
  if (found) return found[0];
  const brand = String.fromCharCode(...bytes.subarray(4, 12));
  return brand.startsWith("ftyp") && HEIC.includes(brand.slice(4)) ? "HEIC" : null;
}

/** Browsers draw a JPEG that is cut short, gray where nothing is left. */
function requireEnd(bytes) {
  for (let position = 2; position + 1 < bytes.length; ) {
    const marker = bytes[position + 1];
    if (bytes[position] === 0xff && marker === 0xd9) return;
    const hasLength = (marker >= 0x02 && marker <= 0xcf) || (marker >= 0xda && marker <= 0xfe);
    if (bytes[position] === 0xff && hasLength) position += 2 + bytes[position + 2] * 256 + bytes[position + 3];
    else position += 1;
  }
  throw new DecodeError("cut short: the end-of-image marker is missing");
}

// (x, y) → upright, by EXIF orientation, for a picture of w × h: what canvas calls a transform.
const TURNS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};

/** Tag 0x0112 of the first directory, where it is one short integer; 1 in every other case. */
function orientationOf(exif) {
  const start = String.fromCharCode(...exif.subarray(0, 6)) === "Exif\0\0" ? 6 : 0;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start);
  try {
    const little = view.getUint32(0) === 0x49492a00;
    if (!little && view.getUint32(0) !== 0x4d4d002a) return 1;
    const directory = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(directory, little); entry += 1) {
      const place = directory + 2 + 12 * entry;
      if (view.getUint16(place, little) !== 0x0112) continue;
      const single = view.getUint16(place + 2, little) === 3 && view.getUint32(place + 4, little) === 1;
      return single ? view.getUint16(place + 8, little) : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

/** The orientation of a WebP, which browsers do not agree to apply; hidden from them, so that none turns twice. */
function takeOrientation(bytes) {
  const view = new DataView(bytes.buffer);
  for (let place = 12; place + 8 <= bytes.length; ) {
    const name = String.fromCharCode(...bytes.subarray(place, place + 4));
    const size = view.getUint32(place + 4, true);
    if (name === "VP8X") bytes[place + 8] &= ~0x08;
    if (name === "EXIF") {
      bytes[place] = 0x58; // a chunk of a name that nobody knows is passed over
      return orientationOf(bytes.subarray(place + 8, place + 8 + size));
    }
    place += 8 + size + (size % 2);
  }
  return 1;
}

function turned(bitmap, orientation) {
  const { width, height } = bitmap;
  const sides = orientation > 4 ? [height, width] : [width, height];
  const canvas = new OffscreenCanvas(...sides);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, ...sides);
  context.imageSmoothingEnabled = false;
  context.setTransform(...TURNS[orientation](width, height));
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

/** What can be drawn, as {width, height, rgb}: three bytes a pixel. */
export function pixelsOf(source, width, height) {
  const rgb = new Uint8Array(width * height * 3);
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  // Kept in memory (willReadFrequently): a graphics card may round otherwise.
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  for (let top = 0, to = 0; top < height; top += rows) {
    context.fillStyle = "white";
    context.fillRect(0, 0, width, rows);
    context.drawImage(source, 0, -top);
    const { data } = context.getImageData(0, 0, width, Math.min(rows, height - top), { colorSpace: "srgb" });
    for (let from = 0; from < data.length; from += 4, to += 3) {
      rgb[to] = data[from];
      rgb[to + 1] = data[from + 1];
      rgb[to + 2] = data[from + 2];
    }
  }
  return { width, height, rgb };
}

/** Decode a file; give its pixels, and a small canvas to look at. */
export async function decode(file, side = 0) {
  if (!file.size) throw new DecodeError("empty file");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const format = formatOf(bytes);
  if (!format) throw new DecodeError("not an image in an allowed format (JPEG, PNG, WebP, GIF, BMP)");
  if (format === "JPEG") requireEnd(bytes);
  const orientation = format === "WebP" ? takeOrientation(bytes) : 1;
  let bitmap;
  try {
    const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
    bitmap = await createImageBitmap(new Blob([bytes]), options);
  } catch {
    throw new DecodeError(`this browser cannot read it: ${format}, or damaged`);
  }
  try {
    const { width, height } = bitmap;
    if (width * height > MOST_PIXELS) throw new DecodeError(`${width} × ${height}: above the limit of ${MOST_PIXELS.toLocaleString("en")} pixels`);
    if (Math.max(width, height) > MOST_SIDE) throw new DecodeError(`${width} × ${height}: a side above the limit of ${MOST_SIDE.toLocaleString("en")} pixels`);
    const source = orientation in TURNS ? turned(bitmap, orientation) : bitmap;
    return { ...pixelsOf(source, source.width, source.height), preview: side ? shrunk(source, side) : null };
  } finally {
    bitmap.close();
  }
}

/** A canvas of at most `side` pixels a side. */
export function shrunk(source, side, width = source.width, height = source.height) {
  const scale = Math.min(1, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}
