// @ts-check
// CSV, JSON and Markdown of what is shown; CSV and JSON of everything.

/** A text that a spreadsheet would take for a formula gets an apostrophe before it. @param {unknown} cell */
function csvCell(cell) {
  const formula = typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) ? "'" : "";
  const plain = cell === null || cell === undefined ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell);
  const text = formula + plain;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {Cells[]} rows @param {string[]} fields */
function csv(rows, fields) {
  const lines = [fields, ...rows.map((row) => fields.map((field) => row[field]))];
  return lines.map((line) => line.map(csvCell).join(",") + "\n").join("");
}

/** The fields of the columns shown, by row. @param {Study} study @returns {{fields: string[], rows: Cells[]}} */
function viewed(study) {
  const fields = shownColumns(study).flatMap((column) => column.fields);
  const rows = shownRows(study).map((row) => {
    return Object.fromEntries(fields.map((field) => [field, row.values[field] ?? null]));
  });
  return { fields, rows };
}

/** A cell as a line of text, without what stands small below it. @param {HTMLTableCellElement | undefined} cell */
function cellText(cell) {
  const copy = /** @type {HTMLElement | undefined} */ (cell?.cloneNode(true));
  for (const small of copy?.querySelectorAll("sup, small") ?? []) small.prepend(" ");
  for (const aside of copy?.querySelectorAll("sup, :not(.better):not(.worse) > small") ?? []) aside.remove();
  return (copy?.textContent ?? "").replace(/\s+/g, " ").trim();
}

/** What is shown as a table in GitHub's Markdown, comparisons and all. @param {Study} study */
function markdown(study) {
  const columns = shownColumns(study);
  /** @param {string} text */
  const escaped = (text) => text.replace(/[\\|`*_<>[\]]/g, "\\$&");
  const lines = [
    columns.map((column) => column.title),
    columns.map((column) => (["text", "settings"].includes(column.compared) ? "---" : "---:")),
    ...shownRows(study).map((row) => columns.map((column) => escaped(cellText(row.cells.get(column.key))))),
  ];
  return lines.map((line) => `| ${line.join(" | ")} |\n`).join("");
}

/** @type {Record<string, (study: Study) => string>} */
const EXPORTS = {
  "view.csv": (study) => csv(viewed(study).rows, viewed(study).fields),
  "view.json": (study) => JSON.stringify(viewed(study).rows, null, 1) + "\n",
  "view.md": markdown,
  link: () => location.href,
  "all.csv": ({ data }) => csv(data.rows, Object.keys(data.rows[0] ?? {})),
  "all.json": ({ data }) => JSON.stringify(data, null, 1) + "\n",
};

/** Puts text on the clipboard; false where the browser keeps it. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = /** @type {HTMLTextAreaElement} */ (make("textarea", text, "unseen"));
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** @param {Study} study */
function answerExports(study) {
  for (const button of study.root.querySelectorAll("[data-export]")) {
    const kind = /** @type {HTMLElement} */ (button).dataset.export ?? "";
    const type = kind.endsWith("csv") ? "text/csv" : "application/json";
    button.addEventListener("click", () => {
      const name = `${study.data.name}-${kind.replace(".", kind.startsWith("all") ? "-rows." : ".")}`;
      download(name, new Blob([EXPORTS[kind]?.(study) ?? ""], { type }));
    });
  }
  for (const button of study.root.querySelectorAll("[data-copy]")) {
    const element = /** @type {HTMLElement} */ (button);
    element.addEventListener("click", async () => {
      const done = await copy(element.dataset.text ?? EXPORTS[element.dataset.copy ?? ""]?.(study) ?? "");
      say(study, done ? "copied" : "the browser does not let this page copy");
      element.classList.toggle("copied", done);
      setTimeout(() => element.classList.remove("copied"), 2000);
    });
  }
}
