// @ts-check
"use strict";
// The page is whole without this script; with it, the table sorts, filters and compares, and the charts answer the
// pointer. Names come from outside: they go into the page as text, never as markup.
// The files of this folder are one script: cnnbench.report.script joins them in order.

/** @typedef {string | number | boolean | null | Record<string, unknown>} Value */
/** @typedef {Record<string, Value>} Cells a row of the leaderboard, as in leaderboard.json */
/** @typedef {"points" | "ratio" | "difference" | "text" | "settings" | "rank"} Compared */
/** @typedef {{key: string, title: string, fields: string[], compared: Compared, over: string, shown: boolean}} Column */
/** @typedef {{percent: boolean, x: string, curves: Record<string, (number | null)[]>}} Panel */
/** @typedef {{rows: string[], p: number[][], alpha: number}} Pairs p-values of each row against those before it */
/** @typedef {{name: string, columns: Column[], rows: Cells[], pairs: Pairs, panels: Record<string, Panel>}} Data */
/** @typedef {"ascending" | "descending"} Order */

/** What a reader has chosen to see. Texts are empty where nothing is chosen; rows go by their name.
 * @typedef {{sort: string, order: Order, search: string, family: string, from: string, to: string, group: string,
 *   status: string, compare: string, columns: Set<string>, open: Set<string>}} View */

/** A row of the table. ``text``: in small letters, for the search; ``pane``: the table row that holds its details.
 * @typedef {{name: string, values: Cells, element: HTMLTableRowElement, text: string,
 *   cells: Map<string, HTMLTableCellElement>, details: HTMLDetailsElement, pane: HTMLTableRowElement | null}} Row */

/** One study's leaderboard: ``rows`` in the order of ranks.
 * @typedef {{root: HTMLElement, data: Data, board: HTMLTableElement, body: HTMLTableSectionElement, rows: Row[],
 *   view: View}} Study */

/** The first element that matches, which has to be there.
 * @template {Element} T @param {ParentNode} root @param {string} selector @param {{new (): T}} type @returns {T} */
function find(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`no ${selector}`);
  return found;
}

/** @param {string} name @param {string} text @param {string} [className] */
function make(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** @param {HTMLElement} root @returns {Study} */
function readStudy(root) {
  /** @type {Data} */
  const data = JSON.parse(find(root, "script.data", HTMLScriptElement).textContent ?? "");
  const board = find(root, "table.board", HTMLTableElement);
  const body = find(board, "tbody", HTMLTableSectionElement);
  const details = Array.from(root.querySelectorAll("details.row"));
  const rows = Array.from(body.rows).map((element, place) => readRow(data, element, details[place]));
  return { root, data, board, body, rows, view: defaultView(data) };
}

/** @param {Data} data @param {HTMLTableRowElement} element @param {Element | undefined} details @returns {Row} */
function readRow(data, element, details) {
  const values = data.rows[Number(element.dataset.index)];
  if (!values || !(details instanceof HTMLDetailsElement)) throw new Error("a row without its data");
  /** @type {Map<string, HTMLTableCellElement>} */
  const cells = new Map();
  for (const cell of element.cells) {
    const key = cell.dataset.column ?? "";
    if (!cells.has(key)) cells.set(key, cell); // the mean, and not the bar beside it
  }
  const text = (element.textContent ?? "").toLowerCase();
  return { name: String(values.architecture), values, element, text, cells, details, pane: null };
}

/** @param {Data} data @returns {View} */
function defaultView(data) {
  return {
    sort: "group", order: "ascending", search: "", family: "", from: "", to: "", group: "", status: "", compare: "",
    columns: new Set(data.columns.filter((column) => column.shown).map((column) => column.key)),
    open: new Set(),
  };
}

/** The columns that are shown, in the table's order. @param {Study} study */
function shownColumns(study) {
  return study.data.columns.filter((column) => study.view.columns.has(column.key));
}

/** The rows that are shown, in the table's order. @param {Study} study */
function shownRows(study) {
  return sorted(study).filter((row) => !row.element.hidden);
}

/** @param {Study} study @param {string} message */
function say(study, message) {
  find(study.root, ".say", HTMLElement).textContent = message;
}
