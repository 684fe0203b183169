// How captions are made: the sliders, and what they ask of the server.

const at = (id) => document.getElementById(id);
const value = (id) => Number(at(id).value);
const SLIDERS = ["beam", "temperature", "count"];

// Above a temperature of 0 words are drawn by chance, and there is no search with a beam.
export const drawing = () => value("temperature") > 0;

let seed = 0; // of the draw
export const drawAnew = () => { seed++; };

// The options of a request.
export function asked() {
  const chosen = { num_captions: value("count"), temperature: value("temperature") };
  return drawing() ? { ...chosen, seed } : { ...chosen, beam_width: value("beam") };
}

function show() {
  at("beam").disabled = drawing();
  at("beam").closest(".slider").classList.toggle("idle", drawing());
  at("beam-value").textContent = drawing() ? "not used" : at("beam").value;
  at("temperature-value").textContent = drawing() ? value("temperature").toFixed(1) : "0";
  at("count-value").textContent = at("count").value;
  at("redraw").hidden = !drawing();
  for (const slider of SLIDERS.map(at)) {
    slider.style.setProperty("--along", String((slider.value - slider.min) / (slider.max - slider.min)));
  }
}

// The sliders where a model itself would have them.
export function setDefaults({ beam_width: beam = 3, num_captions: count = 1, temperature = 0 }) {
  for (const [id, number] of Object.entries({ beam, count, temperature })) at(id).value = number;
  show();
}

// `changed` is called whenever a slider was moved.
export function listen(changed) {
  for (const id of SLIDERS) {
    at(id).addEventListener("input", () => {
      // A search gives no more captions than it follows sentences.
      if (!drawing() && value("count") > value("beam")) {
        const [moved, follows] = id === "beam" ? ["beam", "count"] : ["count", "beam"];
        at(follows).value = at(moved).value;
      }
      show();
      changed();
    });
  }
  at("options").open = matchMedia("(min-width: 48rem)").matches;
  show();
}
