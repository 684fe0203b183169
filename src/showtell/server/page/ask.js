// Talks to the server: what it serves, and the captions of a picture. Whatever goes wrong becomes a `Trouble` in
// plain words.

const PATIENCE = 6; // times a picture is sent again to a server that is busy
const LONGEST = 30; // seconds waited before the next time
const KEY = "showtell-key"; // name in the storage of the tab

let key = "";
try {
  key = sessionStorage.getItem(KEY) ?? "";
} catch { /* storage may be forbidden: then the key lives as long as the page */ }

// Why there is no caption. `kind`: "key" a key is missing or wrong, "away" no answer, "busy" the server is full,
// "picture" it is the picture's fault, so that asking again would not help, "server" anything else.
export class Trouble extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export function useKey(text) {
  key = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch { /* see above */ }
}

export function hasKey() {
  return key !== "";
}

async function send(address, request = {}) {
  const headers = { Accept: "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  try {
    return await fetch(address, { ...request, headers, credentials: "same-origin", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("away", "The server cannot be reached. Is it still running?");
  }
}

async function told(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("server", "The server's answer was cut off or cannot be read.");
  }
}

// A server's reason as a sentence: it stands alone on the page.
function sentence(text) {
  const trimmed = String(text ?? "").trim();
  if (!trimmed) return "";
  return trimmed[0].toLocaleUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

function unreadable(detail) {
  return sentence(`this file cannot be read as a picture: ${String(detail).replace(/^the picture: /, "")}`);
}

async function refusal(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch { /* no JSON: the status says enough */ }
  const reason = sentence(problem?.detail);
  switch (response.status) {
    case 401:
      return new Trouble("key", hasKey() ? "The server does not know this key." : "The server asks for a key.");
    case 413:
      return new Trouble("picture", reason || "The picture is too large for this server.");
    case 400:
      if (problem?.title === "No picture") return new Trouble("picture", unreadable(problem.detail));
      return new Trouble("server", reason || "The server did not understand this page.");
    case 429: case 503:
      return new Trouble("busy", "The server is busy.");
    case 408: case 504:
      return new Trouble("server", "It took too long, and the server gave up.");
    default:
      return new Trouble("server", reason || `The server failed (${response.status}).`);
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, 1000 * seconds);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
  });
}

// What the server serves: {version, max_bytes, models: [{name, beam_width, fit, ...}]}.
export async function settings() {
  const response = await send("v1/page");
  if (!response.ok) throw await refusal(response);
  return told(response);
}

// The captions of one picture, best first: [{text, words: [{text, probability}], probability, maps}].
// `waits` is called with the seconds until a busy server is asked again.
export async function describe(file, options, signal, waits) {
  for (let times = 0; ; times++) {
    const form = new FormData();
    form.append("image", file, file.name || "picture");
    for (const [name, value] of Object.entries({ ...options, attention: true })) form.append(name, String(value));
    const response = await send("v1/captions", { method: "POST", body: form, signal });
    if (response.ok) return captionsOf(await told(response));
    const trouble = await refusal(response);
    if (trouble.kind !== "busy" || times === PATIENCE) throw trouble;
    const asked = Number.parseFloat(response.headers.get("Retry-After")) || 1;
    const seconds = Math.min(Math.max(asked, 0.2), LONGEST) * (1 + Math.random() / 2); // not all at the same moment
    waits(seconds);
    await pause(seconds, signal);
  }
}

function captionsOf(answer) {
  const captions = answer?.results?.[0]?.captions;
  if (!Array.isArray(captions) || !captions.length) throw new Trouble("server", "The server's answer holds no caption.");
  return captions.map((caption) => {
    const words = caption.words.map(({ word, probability }) => ({ text: word, probability }));
    return {
      text: caption.caption, words, probability: caption.probability,
      maps: mapsOf(caption.words.map(({ attention }) => attention)),
    };
  });
}

// Maps of numbers -> {rows, columns, values: a byte for each word, row and column, each word's highest 255}, as heat.js
// draws them; null where there is no grid, or one of a single place, which tells nothing.
function mapsOf(maps) {
  const rows = maps[0]?.length, columns = maps[0]?.[0]?.length;
  if (!(rows * columns > 1)) return null;
  const values = new Uint8Array(maps.length * rows * columns);
  maps.forEach((map, word) => {
    const flat = map.flat();
    const highest = Math.max(...flat, 1e-12);
    values.set(flat.map((value) => Math.round(255 * Math.max(value, 0) / highest)), word * rows * columns);
  });
  return { rows, columns, values };
}
