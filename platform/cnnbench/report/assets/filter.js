// @ts-check
// Filters: a search for words, family, years, rank group, status. A row is shown if it passes all of them.

/** @type {Record<string, (cells: Cells) => boolean>} */
const STATUSES = {
  ranked: (cells) => cells.rank_group !== null,
  unranked: (cells) => cells.rank_group === null,
  controls: (cells) => cells.control !== null,
  networks: (cells) => cells.control === null,
  failures: (cells) => Number(cells.trials_failed ?? 0) > 0,
};

/** @param {Row} row @param {View} view */
function passes(row, view) {
  const { values } = row;
  const year = values.year === null ? null : Number(values.year);
  return (
    view.search.toLowerCase().split(/\s+/).every((word) => row.text.includes(word)) &&
    (view.family === "" || values.family === view.family) &&
    (view.group === "" || String(values.rank_group) === view.group) &&
    (view.from === "" || (year !== null && year >= Number(view.from))) &&
    (view.to === "" || (year !== null && year <= Number(view.to))) &&
    (STATUSES[view.status]?.(values) ?? true)
  );
}

/** @param {Study} study */
function showFiltered(study) {
  for (const row of study.rows) {
    row.element.hidden = !passes(row, study.view);
    if (row.pane) row.pane.hidden = row.element.hidden;
  }
}

/** @typedef {"search" | "family" | "from" | "to" | "group" | "status" | "compare"} Choice a control's class */
/** @type {Choice[]} */
const CHOICES = ["search", "family", "from", "to", "group", "status", "compare"];

/** @param {Study} study @param {Choice} choice */
function control(study, choice) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (find(study.root, `.tools .${choice}`, HTMLElement));
}

/** @param {Study} study @param {Choice} choice @param {string[]} values */
function offer(study, choice, values) {
  for (const value of values) {
    const option = /** @type {HTMLOptionElement} */ (make("option", value.length > 40 ? value.slice(0, 39) + "…" : value));
    option.value = value;
    control(study, choice).append(option);
  }
}

/** Fills the controls with what the rows have, and makes them answer. @param {Study} study */
function answerFilters(study) {
  /** @param {string} field */
  const distinct = (field) => {
    const found = study.rows.map((row) => row.values[field]).filter((value) => value !== null && value !== undefined);
    return Array.from(new Set(found.map(String))).sort(collator.compare);
  };
  offer(study, "family", distinct("family"));
  offer(study, "group", distinct("rank_group"));
  offer(study, "compare", study.rows.map((row) => row.name));
  for (const choice of CHOICES) {
    control(study, choice).addEventListener("input", () => {
      change(study, { [choice]: control(study, choice).value });
      say(study, counted(study));
    });
  }
  find(study.root, ".reset", HTMLButtonElement).addEventListener("click", () => {
    change(study, defaultView(study.data));
    say(study, counted(study));
  });
}

/** @param {Study} study */
function counted(study) {
  return `${study.rows.filter((row) => !row.element.hidden).length} of ${study.rows.length} rows`;
}
