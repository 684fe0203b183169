// One picture on the page: the picture itself, its captions word by word, what can be done with them.
// Every text from outside reaches the page as text, never as HTML.

import { copy, html, parts, sentence } from "./export.js";

const COPIED = 1600; // milliseconds for which a button says that it has copied

const groups = new WeakMap(); // element that holds the words of a caption -> what words.js needs of it
export const captionOf = (word) => groups.get(word.closest(".words"));

const share = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const LEAST = 1e-6; // below, figures tell nothing more
export function percent(probability) { // with blanks that do not break
  if (!(probability >= LEAST)) return `under ${share.format(100 * LEAST)}\u00a0%`;
  return `${probability > 0.99 && probability < 1 ? "over 99" : share.format(100 * probability)}\u00a0%`;
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text, label, act) {
  const element = make("button", { type: "button", "aria-label": label }, text);
  element.addEventListener("click", () => act(element));
  return element;
}

// Left, top, width and height of what the encoder saw, in shares of the picture; as `seen_box` of pages/pictures.py.
function seenBox({ width, height }, { fit, crop_fraction: fraction } = {}) {
  if (fit !== "crop" && fit !== "pad") return [0, 0, 1, 1];
  const side = fit === "pad" ? Math.max(width, height) : Math.min(width, height) * fraction;
  return [(width - side) / 2 / width, (height - side) / 2 / height, side / width, side / height];
}

// A card for `picture`. `acts` are {remove, retry, promote, tell}: what its buttons do, and how a line is told.
export function makeCard(picture, acts) {
  const image = make("img", { alt: `The picture ${picture.name}`, loading: "lazy", decoding: "async" });
  const inner = make("div", { class: "inner" }, image);
  const frame = make("div", { class: "frame" }, inner);
  const title = make("h3", { id: `name-${picture.id}` }, make("bdi", {}, picture.name));
  const body = make("div", { class: "body" });
  const remove = button("", `Remove ${picture.name}`, () => acts.remove(picture));
  remove.className = "remove";
  remove.title = "Remove";
  const text = make("div", { class: "text" }, make("div", { class: "head" }, title, remove), body);
  const article = make("article", { "aria-labelledby": title.id }, frame, text);
  const element = make("li", {}, article);

  image.addEventListener("load", () => {
    [picture.width, picture.height] = [image.naturalWidth, image.naturalHeight]; // upright, as the encoder saw it
    element.style.setProperty("--ratio", String(picture.width / picture.height));
    inner.classList.toggle("tiny", Math.max(picture.width, picture.height) < 160);
    for (const group of body.querySelectorAll(".words")) groups.get(group).picture.seen = seenBox(picture, picture.fits);
  });
  image.addEventListener("error", () => {
    inner.replaceChildren(make("p", { class: "blind" }, "No preview: this browser cannot show the file."));
    inner.classList.add("none");
  });
  image.src = picture.url;

  const card = { element, article, inner, remove };
  card.draw = () => draw(picture, body, inner, article, acts);
  card.draw();
  return card;
}

function draw(picture, body, inner, article, acts) {
  const working = picture.state === "waiting" || picture.state === "asking";
  article.setAttribute("aria-busy", String(working));
  article.classList.toggle("stale", working && Boolean(picture.captions));
  article.classList.toggle("working", picture.state === "asking");
  if (working && picture.captions) return; // the older ones stay until the new ones are here
  for (const canvas of inner.querySelectorAll("canvas")) canvas.remove();
  if (working) {
    const waiting = picture.state === "asking" ? "Looking at it …" : "Waiting for its turn";
    body.replaceChildren(make("p", { class: "wait" }, picture.note || waiting));
  } else if (picture.state === "failed") {
    const again = button("Try again", `Try ${picture.name} again`, () => acts.retry(picture));
    const children = [make("p", { class: "trouble" }, picture.trouble.message)];
    if (picture.trouble.kind !== "picture") children.push(make("p", { class: "actions" }, again));
    body.replaceChildren(...children);
  } else {
    const [best, ...others] = picture.captions.map((caption, i) => captionElement(picture, caption, i, inner, acts));
    const more = others.length ? [make("ol", { class: "others", "aria-label": "Further captions" }, ...others)] : [];
    body.replaceChildren(best, actions(picture, acts), ...more);
  }
}

function actions(picture, acts) {
  const copying = (name, content) => button(name, `${name} of ${picture.name}`, async (element) => {
    const done = await copy(content());
    acts.tell(done ? "Copied." : "The browser did not let the page copy: select the words and copy them by hand.");
    if (!done) return;
    element.classList.add("done");
    setTimeout(() => element.classList.remove("done"), COPIED);
  });
  return make("p", { class: "actions" },
    copying("Copy alt text", () => sentence(picture.captions[0].text)),
    copying("Copy HTML", () => html(picture)));
}

// A caption: for screen readers one sentence, then its words, each of which can be pointed at.
function captionElement(picture, caption, rank, inner, acts) {
  const text = sentence(caption.text);
  const { found, rest } = parts(text, caption.words.map((word) => word.text));
  const words = caption.words.map((word, i) => {
    const element = make("span", { class: "word", role: "button", tabindex: i ? "-1" : "0", "aria-pressed": "false" });
    element.append(found[i][1]);
    if (word.probability > 0) {
      element.style.setProperty("--sure", `${Math.round(100 * word.probability)}%`);
      element.setAttribute("aria-description", percent(word.probability));
    }
    return element;
  });
  const row = make("div", { class: "words", role: "toolbar", dir: "auto", "aria-label": `Words of caption ${rank + 1}` });
  words.forEach((word, i) => row.append(found[i][0], word));
  row.append(rest);
  const sure = make("p", { class: "sure" });
  const summary = probabilities(caption);
  sure.textContent = summary;
  groups.set(row, {
    caption: row, words, frame: inner, maps: caption.maps,
    picture: {
      get width() { return picture.width || 1; },
      get height() { return picture.height || 1; },
      seen: seenBox(picture, picture.fits),
    },
    onShow: (word) => { sure.textContent = word < 0 ? summary : aboutWord(caption, word); },
  });
  const spoken = make("p", { class: "hidden spoken", dir: "auto" }, text);
  const silent = caption.words.length ? [spoken, row] : [make("p", { class: "silent" }, "The model found no words.")];
  if (!rank) return make("div", { class: "caption best" }, ...silent, sure);
  const use = button("Use", `Use “${text}” for ${picture.name}`, () => acts.promote(picture, rank));
  return make("li", { class: "caption" }, make("div", {}, ...silent, sure), use);
}

// The mean is the one that gives the sentence's own when all its words have it.
function probabilities(caption) {
  const logs = caption.words.map((word) => Math.log(word.probability));
  const mean = Math.exp(logs.reduce((sum, one) => sum + one, 0) / logs.length);
  const whole = `the sentence ${percent(caption.probability)}`;
  return mean > 0 ? `Each word ${percent(mean)}, ${whole}` : sentence(whole).slice(0, -1);
}

function aboutWord(caption, i) {
  const { text, probability } = caption.words[i];
  const likely = probability > 0 ? ` ${percent(probability)}` : "";
  if (!caption.maps) return `“${text}”${likely}`;
  const { rows, columns, values } = caption.maps;
  const size = rows * columns;
  const place = window.showtellHeat.place(values.subarray(i * size, (i + 1) * size), rows, columns);
  return `“${text}”${likely}, most attention at ${place}`;
}
