// @ts-check
// The column chooser.

const ALWAYS = ["group", "architecture"];

/** @param {Study} study */
function showColumns(study) {
  const shown = study.view.columns;
  for (const cell of study.board.querySelectorAll("[data-column]")) {
    const element = /** @type {HTMLElement} */ (cell);
    const hide = !shown.has(element.dataset.column ?? "");
    if (element.hidden !== hide) element.hidden = hide;
  }
  for (const cell of study.board.querySelectorAll("[data-over]")) {
    const heading = /** @type {HTMLTableCellElement} */ (cell);
    const below = study.data.columns.filter((column) => column.over === heading.dataset.over && shown.has(column.key));
    const cells = below.length + Number(below.some((column) => column.key === "accuracy")); // with its bars
    heading.hidden = cells === 0;
    heading.colSpan = Math.max(1, cells);
  }
  for (const box of study.root.querySelectorAll(".chooser input")) {
    const input = /** @type {HTMLInputElement} */ (box);
    input.checked = shown.has(input.value);
  }
}

/** @param {Study} study */
function answerColumns(study) {
  const sheet = find(study.root, ".chooser .sheet", HTMLElement);
  for (const column of study.data.columns) {
    if (ALWAYS.includes(column.key)) continue;
    const label = make("label");
    const box = /** @type {HTMLInputElement} */ (make("input"));
    box.type = "checkbox";
    box.value = column.key;
    box.addEventListener("change", () => {
      const columns = new Set(study.view.columns);
      if (box.checked) columns.add(column.key);
      else columns.delete(column.key);
      change(study, { columns });
      say(study, `${columns.size} of ${study.data.columns.length} columns`);
    });
    const over = column.over && !column.title.includes(column.over) ? ` (${column.over.toLowerCase()})` : "";
    label.append(box, column.title + over);
    sheet.append(label);
  }
}

/** Menus close at Escape, and when a reader goes elsewhere. */
function answerMenus() {
  const menus = /** @type {HTMLDetailsElement[]} */ (Array.from(document.querySelectorAll("details.menu")));
  addEventListener("pointerdown", (event) => {
    for (const menu of menus) if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
  for (const menu of menus) {
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
  }
}
