// @ts-check
// A figure as a file: SVG that stands alone, or PNG at twice its size.

const PRESENTATION = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity",
  "visibility", "font-family", "font-size", "font-weight", "font-style", "text-anchor", "paint-order",
];

/** A computed colour as every SVG reader knows it: color(srgb 0.5 …) is too new for some. @param {string} value */
function plainColour(value) {
  const parts = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)/.exec(value);
  return parts ? `rgb(${parts.slice(1, 4).map((part) => Math.round(255 * Number(part))).join(",")})` : value;
}

/** A copy with the style sheet's values written into it, on the page's paper. @param {SVGSVGElement} svg */
function standalone(svg) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const { width, height } = svg.viewBox.baseVal;
  const from = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, place) => {
    const original = from[place];
    if (!original) return;
    const style = getComputedStyle(original);
    for (const name of PRESENTATION) element.setAttribute(name, plainColour(style.getPropertyValue(name)));
    for (const name of ["class", "style", "data-row"]) element.removeAttribute(name);
  });
  for (const unseen of copy.querySelectorAll('[visibility="hidden"]')) unseen.remove();
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  paper.setAttribute("width", String(width));
  paper.setAttribute("height", String(height));
  paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
  copy.prepend(paper);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.removeAttribute("class");
  return new XMLSerializer().serializeToString(copy);
}

/** @param {string} text an SVG that stands alone @returns {Promise<Blob>} */
async function png(text) {
  const picture = new Image();
  picture.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * picture.naturalWidth;
  canvas.height = 2 * picture.naturalHeight;
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(picture.src);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))));
  });
}

/** @param {ParentNode} root @param {string} name what a file's own begins with */
function answerPictures(root, name) {
  for (const button of root.querySelectorAll("[data-picture]")) {
    button.addEventListener("click", async () => {
      const figure = button.closest("figure");
      const drawings = /** @type {SVGSVGElement[]} */ (Array.from(figure?.querySelectorAll("svg[role=img]") ?? []));
      const drawing = drawings.find((each) => each.getBoundingClientRect().width > 0);
      if (!drawing || !figure) return;
      const kind = /** @type {HTMLElement} */ (button).dataset.picture;
      const text = standalone(drawing);
      const file = kind === "png" ? await png(text) : new Blob([text], { type: "image/svg+xml" });
      download(`${name}-${figure.dataset.figure}.${kind}`, file);
    });
  }
}
