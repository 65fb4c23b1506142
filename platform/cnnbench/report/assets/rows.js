// @ts-check
// A row opens to its details in place. They stand in a section of their own for readers without this script.

/** @param {Study} study */
function showOpen(study) {
  for (const row of study.rows) {
    const open = study.view.open.has(row.name);
    const button = row.element.querySelector(".name button");
    button?.setAttribute("aria-expanded", String(open));
    if (open && !row.pane) row.pane = makePane(row);
    if (!open && row.pane) {
      row.details.append(find(row.pane, ".body", HTMLElement));
      row.pane.remove();
      row.pane = null;
    }
  }
}

/** A table row below this one that holds its details. @param {Row} row */
function makePane(row) {
  const pane = /** @type {HTMLTableRowElement} */ (make("tr", "", "pane"));
  const cell = pane.insertCell();
  cell.colSpan = 99;
  cell.append(find(row.details, ".body", HTMLElement));
  row.element.after(pane);
  return pane;
}

/** Names become buttons that open their rows. @param {Study} study */
function answerRows(study) {
  for (const row of study.rows) {
    const link = find(row.element, ".name a", HTMLAnchorElement);
    const button = make("button");
    button.setAttribute("type", "button");
    button.setAttribute("aria-expanded", "false");
    button.append(...link.childNodes);
    link.replaceWith(button);
    button.addEventListener("click", () => {
      const open = new Set(study.view.open);
      if (!open.delete(row.name)) open.add(row.name);
      change(study, { open });
    });
    const body = find(row.details, ".body", HTMLElement);
    body.querySelector(".compare-row")?.addEventListener("click", () => {
      change(study, { compare: study.view.compare === row.name ? "" : row.name });
    });
  }
}
