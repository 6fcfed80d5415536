// The page: what is clicked, dropped and shown. Text of others is only ever set as textContent.

import { choicesOf, flagging } from "./choices.js";
import { decode, pixelsOf, shrunk } from "./decode.js";
import { checks, jpeg, near, passed, verdict } from "./golden.js";
import { fetched, open } from "./model.js";
import { camera, chosen, given } from "./sources.js";
import { csv, shown } from "./text.js";

const MOST_CARDS = 500; // pictures that are shown; results beyond are counted and in the CSV
const PREVIEW = 240;
const BARS = 4;

const $ = (id) => document.getElementById(id);
const median = (values) => [...values].sort((left, right) => left - right)[values.length >> 1];

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

const say = (text, problem = false) => {
  $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
};

// What the release says, and what was found.
let settings, labels, choices, model, opening;
let results = [];
let queue = [];
let working = false;

const choice = () => {
  if ($("choice").value !== "own") return choices[Number($("choice").value)];
  const about = "A threshold of your own: nothing is promised of it.";
  return { about, ...flagging(labels, Number($("own-label").value), Number($("own-threshold").value)) };
};

/** The model, loaded when it is first needed; a failed attempt may be repeated. */
function ready() {
  opening ??= open(settings.model).then(
    (opened) => (model = opened),
    (error) => {
      opening = undefined;
      throw error;
    },
  );
  return opening;
}

// Results

function bar(index, value, decided) {
  const row = element("div", "", decided ? "bar decided" : "bar");
  const meter = element("meter");
  meter.value = value;
  row.append(element("span", shown(labels.names[index]), "name"), meter, element("span", value.toFixed(3), "number"));
  return row;
}

function picture(result) {
  const frame = element("button", "", "picture");
  frame.disabled = !$("blur").checked;
  frame.append(result.preview);
  const name = () => {
    frame.setAttribute("aria-label", frame.classList.contains("seen") ? "Blur this image" : "Show this image");
  };
  frame.addEventListener("click", () => {
    frame.classList.toggle("seen");
    name();
  });
  name();
  return frame;
}

/** Blur every picture that was not clicked, or none. */
function blur() {
  document.body.classList.toggle("blurred", $("blur").checked);
  for (const frame of document.querySelectorAll(".picture")) frame.disabled = !$("blur").checked;
}

function scores(result) {
  const { labels: decided } = choice().decide(result);
  const order = Array.from(labels.names, (_, index) => index);
  // An order that means something is kept; of other labels the likeliest come first.
  if (labels.kind !== "ordinal") order.sort((left, right) => result.probabilities[right] - result.probabilities[left]);
  const bars = order.map((index) => bar(index, result.probabilities[index], decided.includes(index)));
  if (bars.length <= BARS + 1) return bars;
  const rest = element("details");
  rest.append(element("summary", `${bars.length - BARS} more labels`), ...bars.slice(BARS));
  return [...bars.slice(0, BARS), rest];
}

function answer(result) {
  const { labels: decided, flagged } = choice().decide(result);
  const line = element("p", "", "answer");
  if (flagged !== null) line.append(element("strong", flagged ? "flagged" : "not flagged", flagged ? "chip flagged" : "chip"));
  for (const index of decided) line.append(element("strong", shown(labels.names[index]), "chip decided"));
  if (!decided.length) line.append(element("strong", "no label", "chip"));
  return line;
}

function card(result) {
  const item = element("li", "", "card");
  const text = element("div", "", "text");
  const name = element("p", shown(result.name), "file");
  name.title = shown(result.name);
  if (result.error) {
    text.append(name, element("p", result.error, "problem"));
    item.append(text);
    return item;
  }
  const size = `${result.width} × ${result.height}, ${result.ms.toFixed(0)} ms`;
  text.append(name, answer(result), ...scores(result), element("p", size, "quiet"));
  item.append(picture(result), text);
  return item;
}

function summarize() {
  const done = results.filter((result) => !result.error);
  const counts = new Map();
  for (const result of done) {
    const { labels: decided, flagged } = choice().decide(result);
    const said = flagged === null ? decided.map((index) => shown(labels.names[index])) : [flagged ? "flagged" : "not flagged"];
    for (const name of said.length ? said : ["no label"]) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [`${results.length.toLocaleString("en")} image${results.length === 1 ? "" : "s"}`];
  parts.push(...[...counts].sort((left, right) => right[1] - left[1]).map(([name, count]) => `${count} ${name}`));
  if (done.length) parts.push(`${median(done.map((result) => result.ms)).toFixed(0)} ms each`);
  if (done.length < results.length) parts.push(`${results.length - done.length} not read`);
  if (results.length > MOST_CARDS) parts.push(`the latest ${MOST_CARDS} are shown`);
  if (queue.length) parts.push(`${queue.length} to go`);
  $("summary").textContent = results.length || queue.length ? parts.join(" · ") : "";
  $("csv").disabled = $("clear").disabled = !results.length;
  $("stop").hidden = !queue.length;
}

function show() {
  $("choice-about").textContent = choice().about;
  $("own").hidden = $("choice").value !== "own";
  $("own-shown").textContent = Number($("own-threshold").value).toFixed(2);
  for (const result of results.slice(-MOST_CARDS).filter((each) => each.card?.isConnected && !each.error)) {
    const text = result.card.querySelector(".text");
    text.querySelector(".answer").replaceWith(answer(result));
    text.querySelectorAll(".bar, details").forEach((old) => old.remove());
    text.querySelector(".answer").after(...scores(result));
  }
  summarize();
}

function add(result) {
  results.push(result);
  result.card = card(result);
  $("results").prepend(result.card);
  if ($("results").children.length > MOST_CARDS) {
    $("results").lastElementChild.remove();
    const hidden = results[results.length - MOST_CARDS - 1];
    hidden.card = hidden.preview = null;
  }
  summarize();
}

async function judge({ name, file }) {
  const started = performance.now();
  try {
    const pixels = await decode(file, PREVIEW);
    const found = await model.run(pixels);
    const { width, height, preview } = pixels;
    return { name, width, height, preview, ...found, ms: performance.now() - started };
  } catch (error) {
    return { name, error: error.message };
  }
}

async function take(images) {
  queue.push(...images);
  if (working || !queue.length) return;
  working = true;
  try {
    say("Loading the model …");
    await ready();
    say("");
    while (queue.length) {
      add(await judge(queue.shift()));
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive between images
    }
  } catch (error) {
    queue = [];
    say(error.message, true);
  } finally {
    working = false;
    summarize();
  }
}

function save() {
  const rule = choice();
  const rows = results.map((result) => (result.error ? result : { ...result, ...rule.decide(result) }));
  const flags = rows.some((row) => typeof row.flagged === "boolean");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv(labels.names, rows, flags ? rule.name : null)], { type: "text/csv" }));
  link.download = `${settings.name.replace(/[^\p{L}\p{N}._-]+/gu, "-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Camera

let running = null;
let shots = 0;

async function openCamera() {
  try {
    running = await camera($("video"));
    $("viewfinder").hidden = false;
    $("shoot").focus();
  } catch (error) {
    say(`The camera cannot be used: ${error.message}`, true);
  }
}

function closeCamera() {
  running?.stop();
  running = null;
  $("live").setAttribute("aria-pressed", "false");
  $("viewfinder").hidden = true;
}

async function frame() {
  const video = $("video");
  const started = performance.now();
  const found = await model.run(pixelsOf(video, video.videoWidth, video.videoHeight));
  return { ...found, width: video.videoWidth, height: video.videoHeight, ms: performance.now() - started };
}

async function shoot() {
  try {
    await ready();
    const preview = shrunk($("video"), PREVIEW, $("video").videoWidth, $("video").videoHeight);
    add({ name: `camera ${++shots}`, preview, ...(await frame()) });
  } catch (error) {
    say(error.message, true);
  }
}

async function live() {
  const pressed = $("live").getAttribute("aria-pressed") !== "true";
  $("live").setAttribute("aria-pressed", String(pressed));
  try {
    await ready();
    while (running && $("live").getAttribute("aria-pressed") === "true") {
      const found = await frame();
      $("live-answer").replaceChildren(answer(found), element("span", `${found.ms.toFixed(0)} ms`, "quiet"));
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    say(error.message, true);
  }
}

// The golden kit

function row(found) {
  const made = element("tr", "", passed(found) ? "" : "differs");
  const name = element("th", found.name);
  name.scope = "row";
  const told = (good, text) => element("td", good ? text : `${text} ✗`, good ? "" : "problem");
  const levels = found.levels.found === Infinity ? "not read" : `${found.levels.found} of ${found.levels.allowed}`;
  made.append(
    name,
    element("td", found.purpose),
    told(near(found.levels), levels),
    told(near(found.difference), found.difference.found.toExponential(0)),
    told(found.decision.found === found.decision.expected, shown(found.decision.found) || "no label"),
    element("td", found.together === null ? "–" : found.together.toExponential(0)),
    element("td", found.ms.toFixed(0)),
  );
  return made;
}

async function runCheck() {
  const rows = [];
  $("run-check").disabled = true;
  $("verdict").className = "";
  $("verdict").textContent = "Running …";
  $("rows").tBodies[0].replaceChildren();
  try {
    await ready();
    for await (const found of checks(model, settings)) {
      rows.push(found);
      $("rows").hidden = false;
      $("rows").tBodies[0].append(row(found));
    }
    $("verdict").textContent = verdict(rows);
    $("verdict").className = rows.every(passed) ? "good" : "bad";
    $("jpeg").textContent = jpeg(rows);
  } catch (error) {
    $("verdict").textContent = error.message;
    $("verdict").className = "bad";
  } finally {
    $("run-check").disabled = false;
  }
}

// Wiring

function select(tab) {
  for (const each of document.querySelectorAll('[role="tab"]')) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  tab.focus();
}

function listen() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) select(tabs.at((index + step) % tabs.length));
    });
  }
  $("pick").addEventListener("click", () => $("files").click());
  $("pick-folder").addEventListener("click", () => $("folder").click());
  for (const id of ["files", "folder"]) $(id).addEventListener("change", () => take(chosen($(id))));
  $("camera").addEventListener("click", openCamera);
  $("camera-off").addEventListener("click", closeCamera);
  $("shoot").addEventListener("click", shoot);
  $("live").addEventListener("click", live);
  $("choice").addEventListener("change", show);
  $("own-label").addEventListener("change", show);
  $("own-threshold").addEventListener("input", show);
  $("blur").addEventListener("change", blur);
  $("csv").addEventListener("click", save);
  $("run-check").addEventListener("click", runCheck);
  $("stop").addEventListener("click", () => {
    queue = [];
    summarize();
  });
  $("clear").addEventListener("click", () => {
    results = [];
    $("results").replaceChildren();
    summarize();
  });
  // Anywhere: a file that is dropped beside the box would else replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => $("drop").classList.add("over"));
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    $("drop").classList.remove("over");
    take(await given(event.dataTransfer));
  });
  document.addEventListener("paste", async (event) => take(await given(event.clipboardData)));
}

function fill(select, names) {
  select.append(...names.map(([value, name]) => Object.assign(element("option", shown(name)), { value })));
}

async function start() {
  settings = await (await fetched("page/settings.json")).json();
  const record = await (await fetched("thresholds.json")).json();
  labels = record.labels;
  choices = choicesOf(labels, record.files[settings.rule]);
  document.title = shown(settings.name);
  $("title").textContent = shown(settings.name);
  $("blur").checked = settings.blur;
  blur();
  fill($("choice"), [...choices.map(({ name }, index) => [index, name]), ["own", "a threshold of my own"]]);
  const first = labels.kind === "ordinal" ? 1 : 0; // every image reaches the mildest level
  fill($("own-label"), labels.names.map((name, index) => [index, name]).slice(first));
  listen();
  show();
  say("Loading the model …");
  await ready();
  say("");
}

start().catch((error) => say(error.message, true));
