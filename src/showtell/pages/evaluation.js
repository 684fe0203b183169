// The list of pictures: ordered, searched, cut to a range of scores, and laid out a few at a time.
// Every text of the data reaches the page as text, never as HTML.
"use strict";

(() => {
  const page = window.showtellPage;
  if (!page) {
    document.getElementById("pictures").append("data.js is missing: copy the whole folder of the page.");
    return;
  }
  const BATCH = 24; // cards laid out at a time
  const REFERENCES = 5; // shown before "more"
  const OWN = "own score"; // the log-probability by which the model ranks its captions
  const at = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const range = window.showtellRange;
  const { parse, fits, marks } = window.showtellQuery;

  const pictures = page.pictures;
  pictures.forEach((picture, index) => {
    picture.index = index;
    picture.words = picture.words.map((word) => word.normalize("NFC"));
    picture.references = picture.references.map((text) => text.normalize("NFC"));
    picture.text = picture.words.join("");
    picture.values = [...picture.scores, picture.own];
  });
  const measures = [...page.metrics, OWN];
  const state = { query: parse(""), metric: 0, shown: pictures, laid: 0 };
  const cards = new WeakMap(); // article -> card

  // An element with attributes and children; texts become text.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function points(value, metric) {
    if (value === null) return "none";
    return value.toFixed(metric === page.metrics.length ? 2 : 1).replace("-", "\u2212");
  }

  // A text whose found parts are marked.
  function marked(text, places) {
    const children = [];
    let end = 0;
    for (const [begin, stop] of places) {
      children.push(text.slice(end, begin), make("mark", {}, text.slice(begin, stop)));
      end = stop;
    }
    return [...children, text.slice(end)];
  }

  // Cards

  function fragment(picture) {
    return `#picture=${encodeURIComponent(picture.id)}`;
  }

  function frame(picture) {
    if (!picture.width) return make("div", { class: "frame" }, make("p", {}, "no picture"));
    const image = make("img", {
      src: `pictures/${String(picture.index).padStart(5, "0")}.jpg`, alt: `Picture ${picture.id}`,
      width: picture.width, height: picture.height, loading: "lazy", decoding: "async",
    });
    const wide = picture.width * 3 >= picture.height * 4;
    const inner = make("div", { class: wide ? "inner wide" : "inner" }, image);
    inner.style.aspectRatio = `${picture.width} / ${picture.height}`;
    return make("div", { class: Math.max(picture.width, picture.height) < 160 ? "frame tiny" : "frame" }, inner);
  }

  function caption(picture) {
    const lookable = page.attention && picture.width;
    const hits = marks(state.query, picture.text);
    let end = 0;
    const words = picture.words.map((piece, i) => {
      const word = piece.trim();
      const begin = end + piece.length - piece.trimStart().length;
      end += piece.length;
      const hit = hits.some(([from, to]) => from < end && to > begin);
      const element = make("span", { class: hit ? "word hit" : "word" }, word);
      if (lookable) {
        element.setAttribute("role", "button");
        element.tabIndex = i ? -1 : 0;
      }
      return element;
    });
    const children = words.flatMap((word, i) => [
      ...(picture.words[i].startsWith(" ") ? [" "] : []),
      picture.logs ? make("span", { class: "told" }, word, log(picture.logs[i])) : word,
    ]);
    if (picture.logs) children.push(" ", make("span", { class: "told end" }, make("span", {}, "end"), log(picture.logs.at(-1))));
    if (!picture.text) children.unshift(make("span", { class: "silent" }, "(no words)"));
    const element = make("p", { class: "caption", dir: "auto", lang: "" }, ...children);
    if (lookable) {
      element.setAttribute("role", "group");
      element.setAttribute("aria-label", `Caption, word by word: ${picture.text}`);
    }
    return [element, words];
  }

  function log(value) {
    const unsure = value === null ? 1 : Math.min(1, -value / 4); // a word of 2 % probability is as unsure as it gets
    const element = make("small", { class: "log" }, value === null ? "none" : value.toFixed(2).replace("-", "\u2212"));
    element.style.setProperty("--unsure", unsure.toFixed(2));
    return element;
  }

  function references(picture) {
    const scoped = ["all", "references"].includes(at("where").value);
    const items = picture.references.map((text) =>
      make("li", { dir: "auto", lang: "" }, ...marked(text, scoped ? marks(state.query, text) : [])));
    const list = make("ul", { class: "references", "aria-label": "What people said" }, ...items.slice(0, REFERENCES));
    const rest = items.slice(REFERENCES);
    if (!rest.length) return [list];
    const more = make("details", { class: "rest" }, make("summary", {}, `${rest.length} more`),
      make("ul", { class: "references" }, ...rest));
    return [list, more];
  }

  function numbers(picture) {
    const rows = measures.map((name, i) =>
      make("div", { class: i === state.metric ? "chosen" : "" }, make("dt", {}, name),
        make("dd", {}, points(picture.values[i], i))));
    return make("dl", { class: "numbers" }, ...rows);
  }

  function card(picture, place) {
    const [element, words] = caption(picture);
    const box = frame(picture);
    const flags = [picture.repeats && "repeats itself", picture.verbatim && "a training caption, word for word"];
    const title = make("h3", {}, make("span", { class: "place" }, `${number.format(place + 1)}.`), " ",
      make("a", { href: fragment(picture) }, make("bdi", {}, picture.id)));
    const article = make("article", { tabindex: "-1" }, box, title, element,
      ...flags.filter(Boolean).map((flag) => make("p", { class: "flag" }, flag)),
      ...references(picture), numbers(picture));
    const value = { picture, words, caption: element, frame: box.firstElementChild };
    if (page.attention) {
      value.part = Math.floor(picture.index / page.attention);
      value.place = picture.index % page.attention;
    }
    cards.set(article, value);
    return make("li", {}, article);
  }

  // The list

  const nearEnd = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && layMore(),
    { rootMargin: "1200px" });

  function texts(picture) {
    const all = { caption: [picture.text], references: picture.references, id: [picture.id] };
    return all[at("where").value] ?? Object.values(all).flat();
  }

  function arrange() {
    state.query = parse(at("search").value);
    const only = at("only").value;
    const shown = pictures.filter((picture) => range.holds(picture.values[state.metric]) && (!only || picture[only]) &&
      fits(state.query, texts(picture)));
    const order = at("order").value;
    if (order !== "data") {
      const sign = order === "best" ? -1 : 1;
      const key = (picture) => picture.values[state.metric];
      shown.sort((a, b) => (key(a) === null) - (key(b) === null) || sign * (key(a) - key(b)) || a.index - b.index);
    }
    state.shown = shown;
    const all = number.format(pictures.length);
    at("count").textContent =
      shown.length === pictures.length ? `${all} pictures` : `${number.format(shown.length)} of ${all}`;
    at("empty").hidden = shown.length > 0;
    window.showtellWords.forget();
    at("cards").replaceChildren();
    state.laid = 0;
    layMore();
    const above = at("cards").getBoundingClientRect().top - at("bar").getBoundingClientRect().bottom;
    if (above < 0) window.scrollBy(0, above - 16); // from far down the list to its new beginning
  }

  function layMore(until = state.laid + BATCH) {
    const stop = Math.min(until, state.shown.length);
    const added = [];
    for (let i = state.laid; i < stop; i++) added.push(card(state.shown[i], i));
    at("cards").append(...added);
    state.laid = Math.max(state.laid, stop);
    at("more").hidden = state.laid >= state.shown.length;
    nearEnd.unobserve(at("more")); // observed anew it tells at once whether the end is still near
    nearEnd.observe(at("more"));
  }

  // An address that ends with #picture=NAME leads to that picture.
  function jump() {
    const [, name] = location.hash.match(/^#picture=(.*)$/s) ?? [];
    if (name === undefined) return;
    let id = name;
    try {
      id = decodeURIComponent(name);
    } catch { /* a percent sign of the name's own */ }
    const picture = pictures.find((one) => one.id === id) ?? pictures.find((one) => one.id === name);
    if (!picture) return;
    if (!state.shown.includes(picture)) reset();
    const place = state.shown.indexOf(picture);
    if (place >= state.laid) layMore(place + BATCH);
    const article = at("cards").children[place].firstElementChild;
    document.querySelector("article.target")?.classList.remove("target");
    article.classList.add("target");
    article.scrollIntoView({ block: "start" });
    article.focus({ preventScroll: true });
  }

  function measure() {
    const values = pictures.map((picture) => picture.values[state.metric]).filter((value) => value !== null);
    const title = `How ${number.format(pictures.length)} pictures score: ${measures[state.metric]}`;
    range.draw(values, title, (value) => points(value, state.metric));
  }

  function reset() {
    at("search").value = "";
    at("only").value = "";
    at("where").value = "all";
    measure();
    arrange();
  }

  // Controls

  function prepare() {
    at("metric").append(...measures.map((name, i) => make("option", { value: i }, name)));
    const kinds = { repeats: "that repeat themselves", verbatim: "word for word from training" };
    for (const [key, name] of Object.entries(kinds)) {
      const count = pictures.filter((picture) => picture[key]).length;
      if (count) at("only").append(make("option", { value: key }, `${name} (${number.format(count)})`));
    }
    at("only-label").hidden = at("only").children.length < 2;
    at("hint").hidden = at("legend").hidden = !page.attention;
    at("logs-label").hidden = !pictures.some((picture) => picture.logs);
    at("panel").hidden = at("bar").hidden = false;
    document.body.classList.toggle("logs", at("logs").checked); // a page that is loaded again keeps its controls
  }

  function listen() {
    at("bar").addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["search", "where", "order", "only"]) at(id).addEventListener("input", arrange);
    at("metric").addEventListener("input", () => {
      state.metric = Number(at("metric").value);
      measure();
      arrange();
    });
    range.listen(arrange);
    at("logs").addEventListener("input", () => document.body.classList.toggle("logs", at("logs").checked));
    at("reset").addEventListener("click", () => { reset(); at("search").focus(); });
    at("more-button").addEventListener("click", () => layMore());
    window.showtellWords.listen(at("cards"), (element) => cards.get(element.closest("article")),
      (line) => { at("said").textContent = line; });
    window.addEventListener("hashchange", jump);
  }

  prepare();
  state.metric = Number(at("metric").value);
  measure();
  arrange();
  listen();
  jump();
  performance.mark("showtell-list");
})();
