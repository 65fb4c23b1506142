// @ts-check
// Charts answer the pointer: values in a tip, and one row lit wherever it stands.

const tip = make("div", "", "tip");
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

/** Lights one row in table, points, curves and legends. @param {string | undefined} row */
function light(row) {
  document.body.classList.toggle("lighting", row !== undefined);
  for (const each of document.querySelectorAll("[data-row]")) {
    each.classList.toggle("lit", /** @type {HTMLElement} */ (each).dataset.row === row);
  }
}

function answerRowMarks() {
  for (const each of document.querySelectorAll("[data-row]")) {
    each.addEventListener("pointerenter", () => light(/** @type {HTMLElement} */ (each).dataset.row));
    each.addEventListener("pointerleave", () => light(undefined));
  }
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

/** A line at the step that the pointer is at, and the values there. @param {SVGSVGElement} svg @param {Panel} panel */
function answerPointer(svg, panel) {
  const [first = 0, last = 0, left = 0, right = 0] = (svg.dataset.steps ?? "").split(" ").map(Number);
  const cursor = find(svg, ".cursor", SVGLineElement);
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

/** @param {Study} study */
function answerCharts(study) {
  for (const mark of study.root.querySelectorAll("svg .titled")) {
    const title = mark.querySelector("title");
    const text = title?.textContent ?? "";
    title?.remove(); // ours is quicker than the browser's
    mark.addEventListener("pointermove", (event) => showTip(/** @type {PointerEvent} */ (event), text));
    mark.addEventListener("pointerleave", () => (tip.hidden = true));
  }
  for (const chart of study.root.querySelectorAll("svg[data-panel]")) {
    const svg = /** @type {SVGSVGElement} */ (chart);
    const panel = study.data.panels[svg.dataset.panel ?? ""];
    if (panel) answerPointer(svg, panel);
  }
}
