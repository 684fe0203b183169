// How the pictures score, as bars, and two sliders between which a score must lie. The sliders move by whole bars.
"use strict";

window.showtellRange = (() => {
  const BARS = 50; // at most
  const at = (id) => document.getElementById(id);
  let bars = { first: 0, width: 1, count: 1 }; // the first begins at first * width
  let limits = [-Infinity, Infinity];
  let tell = String;

  function niceWidth(span) {
    const rough = Math.max(span, 1e-6) / (BARS - 2); // its ends may lie inside of a bar
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 2.5, 4, 5, 10].find((step) => step * power >= rough * 0.999);
  }

  // Draw the bars of `values` and open the sliders wide; `points` writes a score as people read it.
  function draw(values, title, points) {
    tell = points;
    const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
    const width = niceWidth(most - least);
    const bar = (value) => Math.floor(value / width + 1e-9);
    const counts = new Array(bar(most) + 1 - bar(least)).fill(0);
    for (const value of values) counts[bar(value) - bar(least)] += 1;
    bars = { first: bar(least), width, count: counts.length };
    at("range").hidden = !values.length;
    at("range-title").textContent = title;
    at("bars").setAttribute("viewBox", `0 0 ${bars.count} 100`);
    at("bars").replaceChildren(...counts.map((count, i) => rectangle(i, count && Math.max(2, 100 * count / Math.max(...counts)))));
    for (const [id, value] of [["low", 0], ["high", bars.count]]) {
      at(id).max = bars.count;
      at(id).value = value;
    }
    cut();
  }

  function rectangle(i, height) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const places = { x: i + 0.08, y: 100 - height, width: 0.84, height };
    for (const [name, value] of Object.entries(places)) element.setAttribute(name, value);
    return element;
  }

  function cut() {
    const [from, to] = [at("low"), at("high")].map((slider) => Number(slider.value)).sort((a, b) => a - b);
    const edge = (place) => (bars.first + place) * bars.width;
    limits = [from === 0 ? -Infinity : edge(from), to === bars.count ? Infinity : edge(to)];
    [...at("bars").children].forEach((bar, i) => bar.classList.toggle("in", i >= from && i < to));
    at("range-from").textContent = tell(edge(from));
    at("range-to").textContent = tell(edge(to));
    for (const id of ["low", "high"]) at(id).setAttribute("aria-valuetext", tell(edge(Number(at(id).value))));
  }

  // Whether a score lies between the sliders; one that is none only where they are wide open.
  function holds(value) {
    const [low, high] = limits;
    return value === null ? low === -Infinity && high === Infinity : value >= low && value < high;
  }

  function listen(changed) {
    for (const id of ["low", "high"]) at(id).addEventListener("input", () => { cut(); changed(); });
  }

  return { draw, holds, listen };
})();
