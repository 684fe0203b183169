// The page of the server: pictures in, captions out, each on a card. Pictures are sent one by one, a few at a time.

import { describe, hasKey, settings, Trouble, useKey } from "./ask.js";
import { listen as listenToCamera } from "./camera.js";
import { captionOf, makeCard } from "./card.js";
import { csv, save, sentence } from "./export.js";
import { listen as listenToIntake } from "./intake.js";
import { asked, drawAnew, listen as listenToSliders, setDefaults } from "./sliders.js";

const AT_ONCE = 4; // pictures under way
const SETTLE = 350; // milliseconds after a slider was moved until pictures are captioned anew
const FORM = 2000; // bytes of a form beside its picture, at most
const TOAST = 4000; // milliseconds for which a line stays

const at = (id) => document.getElementById(id);
const pictures = []; // in the order in which they came
const cards = new Map(); // picture -> its card
let served = { max_bytes: Infinity, models: [] };
let underWay = 0;
let numbers = 0;

const count = (state) => pictures.filter((picture) => picture.state === state).length;
const plural = (number) => `${number} picture${number === 1 ? "" : "s"}`;

// A line for everyone, seen and spoken.
function tell(line) {
  at("toast").textContent = line;
  at("toast").classList.add("shown");
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => {
    at("toast").classList.remove("shown");
    at("toast").textContent = "";
  }, TOAST);
}

// A line for those who listen; others see it on the card.
function say(line) {
  at("said").textContent = line;
}

// -- Pictures ---------------------------------------------------------------------------------------------------------

function add(found) {
  for (const { file, name } of found) {
    const picture = { id: ++numbers, file, name: name || "picture", url: URL.createObjectURL(file), state: "waiting" };
    if (file.size > served.max_bytes - FORM) fail(picture, tooLarge(file));
    pictures.push(picture);
    const card = makeCard(picture, { remove, retry, promote, tell });
    cards.set(picture, card);
    at("cards").append(card.element);
  }
  pump();
}

function tooLarge(file) {
  const size = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return new Trouble("picture", `The file has ${size(file.size)}, this server takes up to ${size(served.max_bytes)}.`);
}

function fail(picture, trouble) {
  Object.assign(picture, { state: "failed", captions: null, trouble });
}

function drop(picture) {
  picture.controller?.abort();
  pictures.splice(pictures.indexOf(picture), 1);
  const card = cards.get(picture);
  window.showtellWords.forget(({ frame }) => frame === card.inner);
  card.element.remove();
  cards.delete(picture);
  URL.revokeObjectURL(picture.url);
}

// The words that it may hold are laid out anew.
function redraw(picture) {
  const card = cards.get(picture);
  window.showtellWords.forget(({ frame }) => frame === card.inner);
  card.draw();
}

function remove(picture) {
  const place = pictures.indexOf(picture);
  drop(picture);
  tell(`${picture.name} removed.`);
  pump();
  const next = pictures[Math.min(place, pictures.length - 1)];
  (next ? cards.get(next).remove : at("choose")).focus();
}

function clear() {
  while (pictures.length) drop(pictures[0]);
  tell("All pictures removed.");
  pump();
  at("choose").focus();
}

// Another caption takes the place of the first.
function promote(picture, rank) {
  picture.captions.unshift(...picture.captions.splice(rank, 1));
  redraw(picture);
  cards.get(picture).article.querySelector(".word")?.focus();
}

// -- Asking -----------------------------------------------------------------------------------------------------------

const options = () => (at("model").value ? { ...asked(), model: at("model").value } : asked());
const model = () => served.models.find(({ name }) => name === at("model").value) ?? {};

function pump() {
  while (underWay < AT_ONCE) {
    const picture = pictures.find(({ state }) => state === "waiting");
    if (!picture) break;
    run(picture);
  }
  show();
}

async function run(picture) {
  underWay++;
  const controller = new AbortController();
  const about = model();
  Object.assign(picture, { state: "asking", note: "", controller });
  cards.get(picture).draw();
  const mine = () => picture.controller === controller && !controller.signal.aborted;
  const busy = (seconds) => {
    picture.note = `The server is busy; asking again in ${Math.ceil(seconds)} s`;
    if (mine()) cards.get(picture)?.draw();
  };
  try {
    const captions = await describe(picture.file, options(), controller.signal, busy);
    if (mine()) finish(picture, { state: "done", captions, model: about.name ?? "", fits: about });
  } catch (error) {
    if (mine()) {
      fail(picture, error instanceof Trouble ? error : new Trouble("server", `This page failed: ${error.message}.`));
      if (error.kind === "key") askForKey();
      if (error.kind === "away") showAway(error);
      finish(picture, { model: about.name ?? "" });
    }
  } finally {
    underWay--;
    pump();
  }
}

function finish(picture, outcome) {
  Object.assign(picture, outcome);
  redraw(picture);
  const told = picture.state === "done" ? sentence(picture.captions[0].text) : picture.trouble.message;
  if (pictures.length === 1) say(told);
  else if (!count("waiting") && !count("asking")) say(`All done: ${tally()}.`);
  else if (picture.state === "failed") say(`${picture.name}: ${told}`);
}

function retry(picture) {
  picture.state = "waiting";
  cards.get(picture).remove.focus(); // the button that was pressed goes away
  cards.get(picture).draw();
  pump();
}

// Those that failed for a reason that is gone by now.
function retryAll(kind) {
  for (const picture of pictures) {
    if (picture.state !== "failed" || picture.trouble.kind !== kind) continue;
    picture.state = "waiting";
    cards.get(picture).draw();
  }
  pump();
}

// All are captioned anew, as the sliders now stand. Those that are no pictures stay so.
function again() {
  for (const picture of pictures) {
    if (picture.state === "failed" && picture.trouble.kind === "picture") continue;
    picture.controller?.abort();
    picture.state = "waiting";
    cards.get(picture).draw();
  }
  pump();
}

function stop() {
  for (const picture of pictures) {
    if (picture.state !== "waiting" && picture.state !== "asking") continue;
    picture.controller?.abort();
    if (picture.captions) picture.state = "done";
    else fail(picture, new Trouble("stopped", "Stopped before it was captioned."));
    redraw(picture);
  }
  pump();
  at("csv").focus();
}

// -- What is seen around the cards ------------------------------------------------------------------------------------

function tally() {
  const [done, failed] = [count("done"), count("failed")];
  const all = done + failed === pictures.length;
  const told = all && !failed ? plural(done) : `${done} of ${plural(pictures.length)}`;
  return `${told} captioned${failed ? `, ${failed} failed` : ""}`;
}

function show() {
  const working = count("waiting") + count("asking") > 0;
  document.body.classList.toggle("showing", pictures.length > 0);
  at("results").hidden = !pictures.length;
  at("results").classList.toggle("alone", pictures.length === 1);
  at("progress").hidden = pictures.length < 2;
  at("meter").hidden = at("stop").hidden = !working;
  at("meter").max = Math.max(pictures.length, 1);
  at("meter").value = count("done") + count("failed");
  at("tally").textContent = tally();
  at("csv").disabled = working || !count("done");
  at("guide").hidden = !pictures.some(({ captions }) => captions?.some(({ maps }) => maps));
}

// -- Beginning --------------------------------------------------------------------------------------------------------

function askForKey() {
  at("key-trouble").textContent = hasKey() ? "The server does not know this key." : "";
  if (!at("key-form").hidden) return;
  at("key-form").hidden = false;
  at("key").focus();
}

function showAway(trouble) {
  at("away-reason").textContent = trouble.message;
  at("away").hidden = false;
}

async function begin() {
  at("away").hidden = true;
  try {
    served = await settings();
  } catch (error) {
    if (error.kind === "key") askForKey();
    else showAway(error);
    return;
  }
  at("key-form").hidden = true;
  at("version").textContent = `showtell ${served.version}`;
  at("model").replaceChildren(...served.models.map(({ name }) => new Option(name, name)));
  at("model-label").hidden = served.models.length < 2;
  setDefaults(model());
  retryAll("key");
  retryAll("away");
}

// Soon, and once: a slider on its way is moved many times.
function againSoon() {
  clearTimeout(againSoon.timer);
  if (pictures.length) againSoon.timer = setTimeout(again, SETTLE);
}

listenToIntake(add, tell);
listenToCamera((file) => add([{ file, name: file.name }]), tell);
listenToSliders(againSoon);
window.showtellWords.listen(at("cards"), captionOf, say);
at("model").addEventListener("change", () => {
  setDefaults(model());
  againSoon();
});
at("redraw").addEventListener("click", () => {
  drawAnew();
  again();
});
at("again").addEventListener("click", begin);
at("stop").addEventListener("click", stop);
at("clear").addEventListener("click", clear);
at("csv").addEventListener("click", () => save(csv(pictures), "captions.csv"));
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value.trim());
  begin();
});
begin();
