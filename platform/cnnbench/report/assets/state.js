// @ts-check
// The view in the address, after "#": what a reader sees can be sent to another one.

/** Only what differs from the page as it comes. @param {Study} study */
function viewText(study) {
  const [view, plain] = [study.view, defaultView(study.data)];
  const found = new URLSearchParams();
  for (const name of /** @type {const} */ (["sort", "order", ...CHOICES])) {
    if (view[name] !== plain[name]) found.set(name, view[name]);
  }
  const columns = shownColumns(study).map((column) => column.key);
  if (columns.length !== plain.columns.size || columns.some((key) => !plain.columns.has(key))) {
    found.set("columns", columns.join(","));
  }
  for (const row of study.rows) if (view.open.has(row.name)) found.append("open", row.name);
  return found.toString();
}

/** The view that a text after "#" names; what it does not know it leaves as it comes. @param {Study} study
 * @param {string} text @returns {View} */
function readView(study, text) {
  const found = new URLSearchParams(text);
  const view = defaultView(study.data);
  for (const choice of CHOICES) view[choice] = found.get(choice) ?? view[choice];
  const keys = study.data.columns.map((column) => column.key);
  const sort = found.get("sort") ?? "";
  if (keys.includes(sort)) view.sort = sort;
  if (found.get("order") === "descending") view.order = "descending";
  const columns = found.get("columns")?.split(",");
  if (columns) view.columns = new Set(keys.filter((key) => ALWAYS.includes(key) || columns.includes(key)));
  if (!study.rows.some((row) => row.name === view.compare)) view.compare = "";
  view.open = new Set(found.getAll("open").filter((name) => study.rows.some((row) => row.name === name)));
  return view;
}

/** Changes the view, the page and the address. @param {Study} study @param {Partial<View>} changes */
function change(study, changes) {
  const before = study.view;
  study.view = { ...before, ...changes };
  show(study, before);
  const text = viewText(study);
  history.replaceState(null, "", text ? `#${text}` : "#leaderboard");
}

/** Brings the page to the view. @param {Study} study @param {View | null} before what it shows; null: nothing yet */
function show(study, before) {
  const { view } = study;
  for (const choice of CHOICES) if (control(study, choice).value !== view[choice]) control(study, choice).value = view[choice];
  if (view.columns !== before?.columns) showColumns(study);
  if (view.compare !== before?.compare) showComparison(study);
  if (view.open !== before?.open) showOpen(study);
  showFiltered(study);
  showOrder(study);
  markGroups(study);
}

/** The address may name a view, a row's details, or a section. @param {Study} study */
function followAddress(study) {
  const text = location.hash.slice(1);
  const place = study.rows.findIndex((row) => row.details.id === text);
  const before = study.view;
  if (text.includes("=")) study.view = readView(study, text);
  else if (place >= 0) study.view = { ...before, open: new Set([...before.open, study.rows[place]?.name ?? ""]) };
  else return;
  show(study, before);
  if (place >= 0) study.rows[place]?.element.scrollIntoView();
}
