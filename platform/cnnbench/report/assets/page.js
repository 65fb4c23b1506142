// @ts-check
"use strict";
// The page is whole without this script; with it, the table sorts and filters, and the charts answer the pointer.
// Names come from outside: they go into the page as text, never as markup.

/** @typedef {{percent: boolean, x: string, curves: Record<string, (number | null)[]>}} Panel */
/** @typedef {{name: string, rows: Record<string, unknown>[], panels: Record<string, Panel>}} Data */

/** @type {Data} */
const data = JSON.parse(element("data").textContent ?? "");
const board = element("board");
const body = /** @type {HTMLTableSectionElement} */ (board.querySelector("tbody"));
const rows = Array.from(body.rows); // as delivered: by rank
const filter = /** @type {HTMLInputElement} */ (element("filter"));
document.documentElement.classList.add("script");

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found;
}

// ---------------------------------------------------------------- sorting and filtering

/** The column that a heading or a cell begins in; a cell may span several. @param {HTMLTableCellElement} cell */
function column(cell) {
  let start = 0;
  for (let left = cell.previousElementSibling; left; left = left.previousElementSibling) {
    start += /** @type {HTMLTableCellElement} */ (left).colSpan;
  }
  return start;
}

/** A row's value in a column, "" if it has none. @param {HTMLTableRowElement} row @param {number} at */
function valueAt(row, at) {
  const cell = Array.from(row.cells).find((each) => column(each) === at);
  return (cell?.dataset.value ?? cell?.textContent ?? "").trim();
}

/** Numbers by size, other things as text, missing values last either way. Ties keep the order of ranks.
 * @param {HTMLTableCellElement} heading @param {"ascending" | "descending"} direction */
function sortBy(heading, direction) {
  const at = column(heading);
  const sign = direction === "ascending" ? 1 : -1;
  const keys = new Map(rows.map((row) => [row, valueAt(row, at)]));
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const ordered = rows.slice().sort((a, b) => {
    const [left, right] = [keys.get(a) ?? "", keys.get(b) ?? ""];
    if (left === "" || right === "") return Number(left === "") - Number(right === "");
    const numbers = Number(left) - Number(right);
    return sign * (Number.isNaN(numbers) ? compare(left, right) : numbers);
  });
  body.append(...ordered);
  for (const other of board.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", direction);
  board.classList.toggle("by-rank", at === 0);
  markGroups();
  say(`sorted by ${heading.textContent?.trim()}, ${direction}`);
}

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = (row.textContent ?? "").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  markGroups();
  say(`${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`);
}

/** Where the brackets of rank groups begin and end among the rows shown. */
function markGroups() {
  const shown = Array.from(body.rows).filter((row) => !row.hidden);
  shown.forEach((row, place) => {
    row.classList.toggle("first", shown[place - 1]?.dataset.group !== row.dataset.group);
    row.classList.toggle("last", shown[place + 1]?.dataset.group !== row.dataset.group);
  });
}

/** @param {string} message */
function say(message) {
  element("status").textContent = message;
}

for (const button of board.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = /** @type {HTMLTableCellElement} */ (button.closest("th"));
    const first = /** @type {HTMLElement} */ (button).dataset.first === "descending" ? "descending" : "ascending";
    const now = heading.getAttribute("aria-sort");
    const other = now === "ascending" ? "descending" : "ascending";
    sortBy(heading, now === "none" ? first : other);
  });
}
filter.addEventListener("input", applyFilter);

// ---------------------------------------------------------------- downloads

/** @param {string} kind @param {string} text */
function download(kind, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
  link.download = `${data.name}-leaderboard.${kind}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** @param {unknown} cell */
function csvCell(cell) {
  const text = cell === null ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

element("download-json").addEventListener("click", () => download("json", JSON.stringify(data.rows, null, 1)));
element("download-csv").addEventListener("click", () => {
  const lines = [Object.keys(data.rows[0] ?? {}), ...data.rows.map((row) => Object.values(row))];
  download("csv", lines.map((line) => line.map(csvCell).join(",") + "\n").join(""));
});

// ---------------------------------------------------------------- charts

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

/** Shows lines of text near the pointer, inside the window. @param {PointerEvent} event @param {string} text */
function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}

/** Lights one row wherever it stands: table, points, curves, legend. @param {string | undefined} row */
function light(row) {
  document.body.classList.toggle("lighting", row !== undefined);
  for (const each of document.querySelectorAll("[data-row]")) {
    each.classList.toggle("lit", /** @type {HTMLElement} */ (each).dataset.row === row);
  }
}

for (const each of document.querySelectorAll("[data-row]")) {
  each.addEventListener("pointerenter", () => light(/** @type {HTMLElement} */ (each).dataset.row));
  each.addEventListener("pointerleave", () => light(undefined));
}

for (const point of document.querySelectorAll(".point")) {
  const title = point.querySelector("title");
  const text = title?.textContent ?? "";
  title?.remove(); // ours is quicker than the browser's
  point.addEventListener("pointermove", (event) => showTip(/** @type {PointerEvent} */ (event), text));
  point.addEventListener("pointerleave", () => (tip.hidden = true));
}

/** Every row's value at a step, highest first (lowest for losses). @param {Panel} panel @param {number} step */
function valuesAt(panel, step) {
  const most = 12;
  const found = Object.entries(panel.curves)
    .map(([row, curve]) => ({ row, value: curve[step - 1] }))
    .filter((entry) => typeof entry.value === "number")
    .sort((a, b) => (panel.percent ? 1 : -1) * (Number(b.value) - Number(a.value)));
  const lines = found.slice(0, most).map(({ row, value }) => {
    const shown = panel.percent ? (100 * Number(value)).toFixed(2) : Number(value).toPrecision(3);
    return `${shown}  ${row.length > 32 ? row.slice(0, 31) + "…" : row}`;
  });
  if (found.length > most) lines.push(`and ${found.length - most} more`);
  return [`${panel.x} ${step}`, ...lines].join("\n");
}

for (const chart of document.querySelectorAll("svg[data-panel]")) {
  const svg = /** @type {SVGSVGElement} */ (chart);
  const [first, last, left, right] = (svg.dataset.steps ?? "").split(" ").map(Number);
  const cursor = /** @type {SVGLineElement} */ (svg.querySelector(".cursor"));
  const panel = data.panels[svg.dataset.panel ?? ""];
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const along = Math.min(1, Math.max(0, (x - left) / (right - left)));
    const step = Math.round(first + along * (last - first));
    const place = String(left + ((step - first) / (last - first)) * (right - left));
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    svg.classList.add("pointed");
    showTip(event, valuesAt(panel, step));
  });
  svg.addEventListener("pointerleave", () => {
    svg.classList.remove("pointed");
    tip.hidden = true;
  });
}

// ---------------------------------------------------------------- links to a row's details

function openTarget() {
  const target = location.hash.startsWith("#row-") ? document.getElementById(location.hash.slice(1)) : null;
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", openTarget);
openTarget();
