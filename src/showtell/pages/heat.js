// Draws where a word looked: dim where little attention lies, warm where much. The same colours as `attention_map.py`.
"use strict";

window.showtellHeat = (() => {
  // From none to most: dark violet over red and orange to pale yellow.
  const STOPS = [[24, 10, 60], [110, 25, 110], [205, 60, 75], [250, 145, 40], [252, 250, 175]];
  const DIMMED = 0.35; // brightness of the picture where no attention lies
  const OPACITY = 0.55; // of the heat where most attention lies
  const UNSEEN = 0.8; // darkness where the encoder saw nothing
  const SIDE = 64; // pixels of a smooth map, which the browser then scales
  const WIDTH = 320; // pixels of the canvas: a map is smooth, more would show nothing

  // Attention as red, green, blue and opacity, so that laying it over dims and warms the picture at once.
  const COLOURS = new Uint8ClampedArray(256 * 4);
  for (let level = 0; level < 256; level++) {
    const heat = level / 255;
    const place = heat * (STOPS.length - 1);
    const stop = Math.min(Math.floor(place), STOPS.length - 2);
    const kept = (DIMMED + (1 - DIMMED) * heat) * (1 - OPACITY * heat);
    for (let channel = 0; channel < 3; channel++) {
      const colour = STOPS[stop][channel] + (STOPS[stop + 1][channel] - STOPS[stop][channel]) * (place - stop);
      COLOURS[level * 4 + channel] = colour * OPACITY * heat / (1 - kept);
    }
    COLOURS[level * 4 + 3] = 255 * (1 - kept);
  }

  // Base64 of one byte for each word, row and column.
  function unpack(text) {
    const bytes = atob(text);
    return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
  }

  // Weights by which `size` samples make SIDE smooth ones: four neighbours each, cubic, the edges repeated.
  function neighbours(size) {
    return Array.from({ length: SIDE }, (_, i) => {
      const at = (i + 0.5) * size / SIDE - 0.5;
      const first = Math.floor(at) - 1;
      return [0, 1, 2, 3].map((step) => {
        const x = Math.abs(at - first - step);
        const weight = x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2;
        return [Math.min(Math.max(first + step, 0), size - 1), weight];
      });
    });
  }

  // Bytes of rows x columns -> SIDE x SIDE levels.
  function smooth(values, rows, columns) {
    const [down, across] = [neighbours(rows), neighbours(columns)];
    const wide = new Float32Array(rows * SIDE);
    for (let row = 0; row < rows; row++) {
      across.forEach((near, i) => {
        for (const [column, weight] of near) wide[row * SIDE + i] += weight * values[row * columns + column];
      });
    }
    const levels = new Uint8ClampedArray(SIDE * SIDE);
    down.forEach((near, j) => {
      for (let i = 0; i < SIDE; i++) {
        let level = 0;
        for (const [row, weight] of near) level += weight * wide[row * SIDE + i];
        levels[j * SIDE + i] = level;
      }
    });
    return levels;
  }

  // Draw one word's map. `seen` is left, top, width and height of what the encoder saw, in shares of the picture.
  function draw(canvas, values, rows, columns, ratio, seen) {
    const map = document.createElement("canvas");
    map.width = map.height = SIDE;
    const pixels = new ImageData(SIDE, SIDE);
    smooth(values, rows, columns).forEach((level, i) => {
      pixels.data.set(COLOURS.subarray(level * 4, level * 4 + 4), i * 4);
    });
    map.getContext("2d").putImageData(pixels, 0, 0);
    canvas.width = WIDTH;
    canvas.height = Math.max(1, Math.round(WIDTH / ratio));
    const context = canvas.getContext("2d");
    const [left, top, width, height] = [
      seen[0] * canvas.width, seen[1] * canvas.height, seen[2] * canvas.width, seen[3] * canvas.height,
    ];
    context.fillStyle = `rgba(0, 0, 0, ${UNSEEN})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.clearRect(left, top, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(map, left, top, width, height);
  }

  const HIGH = 230; // levels from here on count as the highest, which are 255

  // In words where a map is highest: the middle of its highest places.
  function place(values, rows, columns) {
    const highest = [...values.keys()].filter((i) => values[i] >= HIGH);
    if (!highest.length) return "no place";
    const mean = (numbers) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
    const third = (at, size) => Math.min(2, Math.floor((at + 0.5) * 3 / size));
    const vertical = ["upper", "", "lower"][third(mean(highest.map((i) => Math.floor(i / columns))), rows)];
    const horizontal = ["left", "", "right"][third(mean(highest.map((i) => i % columns)), columns)];
    if (!vertical && !horizontal) return "the middle";
    if (!horizontal) return vertical === "upper" ? "the top" : "the bottom";
    return `the ${`${vertical} ${horizontal}`.trim()}`;
  }

  return { unpack, draw, place };
})();
