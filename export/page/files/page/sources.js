// Where images come from: files and folders that are chosen, dropped or pasted, as a list of {name, file}.

const named = (file) => ({ name: file.webkitRelativePath || file.name, file });

async function inside(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ name: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    entries.push(...some);
  }
  const found = [];
  for (const each of entries.sort((left, right) => (left.name < right.name ? -1 : 1))) found.push(...(await inside(each)));
  return found;
}

/** Files of an <input>; of a folder, those that may be images. */
export function chosen(input) {
  const files = Array.from(input.files, named);
  input.value = ""; // the same choice again is a choice
  return input.webkitdirectory ? files.filter(mayBeImage) : files;
}

const mayBeImage = ({ name, file }) => file.type.startsWith("image/") || (!file.type && !/(^|\/)\./.test(name));

/** Files of a drop or a paste, folders opened. */
export async function given(transfer) {
  const items = Array.from(transfer.items).filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.()); // before anything waits: the list is gone then
  const files = items.map((item) => item.getAsFile());
  const found = [];
  for (const [index, entry] of entries.entries()) {
    if (entry?.isDirectory) found.push(...(await inside(entry)).filter(mayBeImage));
    else if (files[index]) found.push(named(files[index]));
  }
  return found;
}

/** The camera: {stop} once it plays in `video`. */
export async function camera(video) {
  if (!navigator.mediaDevices) throw new Error("a browser gives the camera to pages from 127.0.0.1 or https alone");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  video.srcObject = stream;
  await video.play();
  return {
    stop() {
      stream.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
    },
  };
}
