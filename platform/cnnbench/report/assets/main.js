// @ts-check
// Begins.

document.documentElement.classList.add("script");
for (const root of document.querySelectorAll("[data-study]")) {
  const study = readStudy(/** @type {HTMLElement} */ (root));
  answerHeadings(study);
  answerFilters(study);
  answerColumns(study);
  answerRows(study);
  answerExports(study);
  answerCharts(study);
  answerPictures(study.root, study.data.name);
  show(study, null);
  followAddress(study);
  addEventListener("hashchange", () => followAddress(study));
}
answerMenus();
answerRowMarks();
