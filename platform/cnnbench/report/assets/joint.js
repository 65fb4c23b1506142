// @ts-check
"use strict";
// A page of several studies: ?study=NAME in the address shows that study's own page, otherwise all stand together.
(() => {
  const chosen = new URLSearchParams(location.search).get("study");
  const templates = /** @type {HTMLTemplateElement[]} */ (Array.from(document.querySelectorAll("template[data-name]")));
  const template = templates.find((each) => each.dataset.name === chosen);
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".studies a"))) {
    const leads = new URL(link.href).searchParams.get("study");
    if (leads === (template ? chosen : null)) link.setAttribute("aria-current", "page");
  }
  if (template) {
    open(template);
  } else {
    document.documentElement.classList.add("script");
    answerPictures(document, "joint");
    makeSortable(/** @type {HTMLTableElement} */ (document.querySelector("table.joint")));
  }

  /** Puts a study's page in the place of the joint one, and runs the script that pages of one study have.
   * @param {HTMLTemplateElement} template */
  function open(template) {
    document.title = `${template.dataset.name} – cnnbench leaderboard`;
    document.getElementById("joint")?.replaceWith(template.content);
    const script = document.createElement("script");
    script.textContent = document.getElementById("study-script")?.textContent ?? "";
    document.body.append(script);
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    target?.scrollIntoView(); // the browser looked for it before it was there
  }

  /** Missing values stay last either way. @param {HTMLTableElement} table */
  function makeSortable(table) {
    const body = table.tBodies[0];
    if (!body) return;
    const rows = Array.from(body.rows);
    const headings = Array.from(table.tHead?.rows[0]?.cells ?? []);
    headings.forEach((heading, column) => {
      heading.querySelector("button")?.addEventListener("click", () => {
        const first = heading.dataset.first === "descending" ? "descending" : "ascending";
        const now = heading.getAttribute("aria-sort");
        const direction = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
        const sign = direction === "ascending" ? 1 : -1;
        const value = (/** @type {HTMLTableRowElement} */ row) => row.cells[column]?.dataset.value ?? "";
        const compare = new Intl.Collator("en", { numeric: true }).compare;
        body.append(
          ...rows.slice().sort((a, b) => {
            const [left, right] = [value(a), value(b)];
            if (left === "" || right === "") return Number(left === "") - Number(right === "");
            const numbers = Number(left) - Number(right);
            return sign * (Number.isNaN(numbers) ? compare(left, right) : numbers);
          }),
        );
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", direction);
      });
    });
  }
})();
