// What may decide: the rule that the file ships with, the likeliest label, one of its operating points, or a threshold
// of one's own. Each choice is {name, about, decide(result) → {labels: [indices], flagged: true, false or null}}.

const percent = (share) => `${+(100 * share).toFixed(1)} %`;

function promises({ recall, fpr, confidence }) {
  const sides = [recall !== null && `recall at least ${percent(recall)}`, fpr !== null && `false alarms at most ${percent(fpr)}`];
  return `${sides.filter(Boolean).join(", ")}; ${percent(confidence)} sure`;
}

function ofRule(labels, rule) {
  if (rule.method === "threshold") return "every label whose probability reaches its threshold";
  if (rule.method === "levels") return "the most severe label whose score, its own probability and that of all more severe ones, reaches its threshold";
  return rule.points.length ? "the likeliest label whose probability reaches its threshold, or the likeliest without one" : "the likeliest label";
}

function thresholds(labels, rule) {
  const names = rule.method === "levels" ? labels.names.slice(1) : labels.names;
  const found = rule.thresholds.length
    ? rule.thresholds.map((threshold, index) => [names[index], threshold])
    : rule.points.map((point) => [point.name, point.threshold]);
  return found.map(([name, threshold]) => `${name} ${threshold.toPrecision(3)}`).join(", ");
}

/** Flags from a threshold on, of the scores of one label; compared in float32, as the graph does. */
export function flagging(labels, index, threshold) {
  const level = labels.kind === "ordinal";
  return {
    name: `${labels.names[index]}${level && index < labels.names.length - 1 ? " or worse" : ""} from ${threshold.toPrecision(3)}`,
    decide: ({ scores, decision }) => ({ labels: decision, flagged: scores[index] >= Math.fround(threshold) }),
  };
}

/** The choices of a model; the first is the shipped rule. */
export function choicesOf(labels, rule) {
  const shown = thresholds(labels, rule);
  const shipped = {
    name: "the shipped rule",
    about: `The decision is ${ofRule(labels, rule)}${shown && ` (${shown})`}.`,
    decide: ({ decision }) => ({ labels: decision, flagged: null }),
  };
  const likeliest = {
    name: "the likeliest label",
    about: "Not the rule that the file ships with, and not what was judged.",
    decide: ({ probabilities }) => ({ labels: [probabilities.indexOf(Math.max(...probabilities))], flagged: null }),
  };
  const argmax = labels.kind === "multilabel" || (rule.method === "argmax" && !rule.points.length);
  const points = rule.points.map((point) => ({
    ...flagging(labels, labels.names.indexOf(point.name), point.threshold),
    about: `An operating point: ${promises(point)}. On ${point.positives + point.negatives} calibration images it missed ${point.missed} of ${point.positives} and flagged ${point.flagged} of ${point.negatives} others.`,
  }));
  return [shipped, ...points, ...(argmax ? [] : [likeliest])];
}
