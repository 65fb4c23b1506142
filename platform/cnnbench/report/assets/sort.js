// @ts-check
// Sorting: any column, either way.

const collator = new Intl.Collator("en", { numeric: true });

/** What a row sorts by: a number, a text, or null for what is not known. @param {Value | undefined} value */
function sortKey(value) {
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "object") return Object.keys(value).length ? JSON.stringify(value) : null;
  return typeof value === "number" ? value : String(value);
}

/** The rows in the view's order: numbers by size, other things as text, what is not known last either way. Ties keep
 * the order of ranks. @param {Study} study */
function sorted(study) {
  const column = study.data.columns.find((each) => each.key === study.view.sort);
  const field = column?.fields[0] ?? "rank_group";
  const sign = study.view.order === "ascending" ? 1 : -1;
  const keys = new Map(study.rows.map((row) => [row, sortKey(row.values[field])]));
  return study.rows.slice().sort((a, b) => {
    const [left, right] = [keys.get(a) ?? null, keys.get(b) ?? null];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (typeof left === "number" && typeof right === "number") return sign * (left - right);
    return sign * collator.compare(String(left), String(right));
  });
}

/** Puts the rows, each with its open details, into the view's order. @param {Study} study */
function showOrder(study) {
  const ordered = sorted(study).flatMap((row) => (row.pane ? [row.element, row.pane] : [row.element]));
  if (ordered.some((element, place) => study.body.rows[place] !== element)) study.body.append(...ordered);
  for (const heading of study.board.querySelectorAll("th[aria-sort]")) {
    const active = /** @type {HTMLElement} */ (heading).dataset.column === study.view.sort;
    heading.setAttribute("aria-sort", active ? study.view.order : "none");
  }
  study.board.classList.toggle("by-rank", study.view.sort === "group");
}

/** Where the brackets of rank groups begin and end among the rows shown. @param {Study} study */
function markGroups(study) {
  const shown = shownRows(study).map((row) => row.element);
  shown.forEach((row, place) => {
    row.classList.toggle("first", shown[place - 1]?.dataset.group !== row.dataset.group);
    row.classList.toggle("last", shown[place + 1]?.dataset.group !== row.dataset.group);
  });
}

/** A heading sorts by its column; the sorted one turns the order round. @param {Study} study */
function answerHeadings(study) {
  for (const heading of study.board.querySelectorAll("th[aria-sort]")) {
    const { column = "", first } = /** @type {HTMLElement} */ (heading).dataset;
    heading.querySelector("button")?.addEventListener("click", () => {
      const { sort, order } = study.view;
      const begin = first === "descending" ? "descending" : "ascending";
      const other = order === "ascending" ? "descending" : "ascending";
      change(study, { sort: column, order: sort === column ? other : begin });
      say(study, `sorted by ${heading.textContent?.trim()}, ${study.view.order}`);
    });
  }
}
