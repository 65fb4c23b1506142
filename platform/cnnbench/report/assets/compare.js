// @ts-check
// "Compare with this row": every cell says how its row differs from the reference. Only accuracies are tested, so only
// they are coloured, and only where the paired test of the leaderboard finds the difference; the text says so too.

/** The adjusted p-value of two rows, or null where the test did not compare them.
 * @param {Pairs} pairs @param {string} one @param {string} other @returns {number | null} */
function pValue(pairs, one, other) {
  const places = [pairs.rows.indexOf(one), pairs.rows.indexOf(other)].sort((a, b) => a - b);
  const [low = -1, high = -1] = places;
  return low < 0 || low === high ? null : (pairs.p[high]?.[low] ?? null);
}

/** @param {number} value @param {number} [digits] */
function signed(value, digits = 0) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : (value < 0 ? "−" : "+") + text;
}

/** 2.31 → "×2.31", 0.043 → "×0.043". @param {number} value */
function times(value) {
  return `×${value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3))}`;
}

/** What is set otherwise than in the reference. @param {Value | undefined} mine @param {Value | undefined} theirs */
function settingsApart(mine, theirs) {
  const [own, other] = [Object(mine), Object(theirs)];
  const names = Object.keys({ ...other, ...own }).filter((name) => shown(own[name]) !== shown(other[name]));
  return names.map((name) => `${name} ${shown(own[name])}`).join(", ") || "same";
}

/** A setting as text. @param {unknown} value */
function shown(value) {
  if (value === undefined) return "–";
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : typeof value === "string" ? value : JSON.stringify(value);
}

/** @typedef {{text: string, note?: string, mark?: "better" | "worse"}} Difference */

/** @param {Study} study @param {Column} column @param {Row} row @param {Row} reference @returns {Difference | null} */
function difference(study, column, row, reference) {
  const field = column.fields[0] ?? "";
  const [mine, theirs] = [row.values[field], reference.values[field]];
  if (column.compared === "settings") return { text: settingsApart(mine, theirs) };
  if (column.compared === "text" || column.compared === "rank") return null;
  if (typeof mine !== "number" || typeof theirs !== "number") return null;
  if (column.compared === "ratio") return theirs > 0 ? { text: mine === theirs ? "same" : times(mine / theirs) } : null;
  if (column.compared === "difference") return { text: mine === theirs ? "same" : signed(mine - theirs) };
  const text = signed(100 * (mine - theirs), 2);
  return column.key === "accuracy" ? { text, ...verdict(study, row, reference, mine - theirs) } : { text };
}

/** What the paired test says of two accuracies. @param {Study} study @param {Row} row @param {Row} reference
 * @param {number} apart @returns {{note: string, mark?: "better" | "worse"}} */
function verdict(study, row, reference, apart) {
  const { pairs } = study.data;
  const p = pValue(pairs, row.name, reference.name);
  if (p === null) return { note: "not tested" };
  const size = p < 0.001 ? "p < 0.001" : `p = ${p.toPrecision(2)}`;
  if (p > pairs.alpha) return { note: `not significant, ${size}` };
  return { note: `significant, ${size}`, mark: apart > 0 ? "better" : "worse" };
}

/** The cells' own contents while they show differences. @type {WeakMap<HTMLElement, Node[]>} */
const contents = new WeakMap();

/** @param {HTMLElement} cell @param {Difference | null} shown */
function write(cell, shown) {
  const own = contents.get(cell) ?? Array.from(cell.childNodes);
  cell.classList.remove("better", "worse");
  if (!shown) {
    if (contents.delete(cell)) cell.replaceChildren(...own);
    return;
  }
  contents.set(cell, own);
  cell.replaceChildren(shown.text);
  if (shown.note) cell.append(make("small", shown.note));
  if (shown.mark) cell.classList.add(shown.mark);
}

/** @param {Study} study */
function showComparison(study) {
  const reference = study.rows.find((row) => row.name === study.view.compare);
  for (const row of study.rows) {
    row.element.classList.toggle("reference", row === reference);
    for (const column of study.data.columns) {
      const cell = row.cells.get(column.key);
      if (cell) write(cell, reference && row !== reference ? difference(study, column, row, reference) : null);
    }
  }
  const note = find(study.root, ".comparing", HTMLElement);
  note.hidden = !reference;
  note.textContent = reference
    ? `Differences from ${reference.name}: accuracies in points, costs and times as multiples, settings where they are ` +
      "another. An accuracy is coloured where the paired test finds a significant difference at 5 % over all pairs of rows."
    : "";
}
