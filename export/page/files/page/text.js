// Names of others made safe to look at, and results as a table for spreadsheets.

const STEERING = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/g;
const FORMULA = /^[=+\-@\t\r]/;

/** A name in which control characters, and marks that turn the order of what is read, can be seen. */
export function shown(name) {
  const whole = name.isWellFormed?.() ?? true; // halves of pairs alone are steering, emoji are not
  return name.replace(STEERING, (found) => {
    if (whole && found >= "\ud800") return found;
    return `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** A cell that no spreadsheet takes for a formula, quoted where it has to be. */
export function cell(text) {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * A table with the columns of `pocketeva predict --csv`, and one more where a choice flags.
 *
 * Rows are {name, labels, probabilities, ms, error, flagged}; `flag` is the choice's name, or null.
 */
export function csv(names, rows, flag) {
  const more = flag ? [`flagged: ${flag}`] : [];
  const lines = rows.map(({ name, labels, probabilities, ms, error, flagged }) =>
    error
      ? [shown(name), "", ...names.map(() => ""), "", error, ...more.map(() => "")]
      : [
          shown(name),
          labels.map((index) => names[index]).join("|"),
          ...Array.from(probabilities, (value) => value.toFixed(6)),
          ms.toFixed(2),
          "",
          ...more.map(() => (flagged ? "yes" : "no")),
        ],
  );
  const head = ["path", "label", ...names.map((name) => `score_${name}`), "ms", "error", ...more];
  return [head, ...lines].map((line) => line.map(cell).join(",") + "\r\n").join("");
}
