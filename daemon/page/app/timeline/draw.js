// Draws a frame of the timeline on a canvas.

import { clock } from "../texts/index.js";

/** Colours of everything that is no speaker, by shade of the page. */
const INK = Object.freeze({
    light: { text: "#57534b", line: "#ddd9d0", strong: "#1c1b19", gap: "rgb(87 83 75 / 28%)", ground: "#ffffff" },
    dark: { text: "#a6adb8", line: "#2c323c", strong: "#eef0f3", gap: "rgb(166 173 184 / 26%)", ground: "#171b21" },
});
/** Final bars narrower than this are drawn flat. */
const NARROW_PX = 4;
/** Lanes lower than this have no lines between them, which would be all that is seen. */
const LINED_PX = 10;
const FONT = "12px system-ui, sans-serif";

/** Fits a canvas to its place and the screen's density; its context, in CSS pixels. */
export function fit(canvas, width, height) {
    const ratio = Math.min(3, devicePixelRatio || 1);
    const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
}

function drawGaps(pen, frame, height, ink) {
    for (const gap of frame.gaps) {
        pen.save();
        pen.beginPath();
        pen.rect(gap.x, frame.top, gap.width, height - frame.top);
        pen.clip();
        pen.strokeStyle = ink.gap;
        pen.lineWidth = 2;
        pen.beginPath();
        const length = height - frame.top;
        const first = Math.max(gap.x, -length) - length;
        const last = Math.min(gap.x + gap.width, pen.canvas.width);
        for (let x = first - (first % 7); x < last; x += 7) {
            pen.moveTo(x, height);
            pen.lineTo(x + length, frame.top);
        }
        pen.stroke();
        pen.restore();
    }
}

function drawBar(pen, bar, fills, shade, inset) {
    const fill = fills.of(pen, bar.speaker);
    const [x, y] = [bar.x, bar.y + inset];
    const [width, height] = [Math.max(1.5, bar.width - (bar.width > 4 ? 1 : 0)), bar.height - 2 * inset];
    const radius = Math.min(5, width / 2, height / 2);
    pen.beginPath();
    if (width < 3) pen.rect(x, y, width, height);
    else pen.roundRect(x, y, width, height, radius);
    if (bar.final) {
        pen.fillStyle = fill.pattern;
        pen.fill();
    } else {
        // Provisional: a tint within a dashed outline.
        pen.globalAlpha = 0.3;
        pen.fillStyle = fill.pattern;
        pen.fill();
        pen.globalAlpha = 1;
        pen.strokeStyle = fill.colour;
        pen.lineWidth = 1.5;
        pen.setLineDash([5, 3]);
        pen.stroke();
        pen.setLineDash([]);
    }
    if (bar.overlap && height > 8) {
        // A notch along the lower edge: another voice is in it.
        pen.fillStyle = INK[shade].strong;
        pen.fillRect(x + 1, y + height - 4, Math.max(1, width - 2), 2.5);
    }
}

/** Draws where playing stands, across all lanes. */
export function drawPlayhead(pen, camera, position, height, shade) {
    const x = camera.x(position);
    if (x < 0 || x > camera.width) return;
    pen.fillStyle = INK[shade].strong;
    pen.fillRect(x - 0.75, 0, 1.5, height);
    pen.beginPath();
    pen.moveTo(x - 5, 0);
    pen.lineTo(x + 5, 0);
    pen.lineTo(x, 7);
    pen.fill();
}

/**
 * Draws a frame.
 *
 * @param {object} [options]
 * @param {number} [options.selected] segment that is marked
 * @param {string} [options.shade]
 * @param {boolean} [options.axis] whether times are written along the top
 * @param {number} [options.scroll] how far the lanes are scrolled under the axis
 */
export function drawTimeline(pen, frame, camera, height, fills, {
    selected, shade = "light", axis = true, scroll = 0,
} = {}) {
    const ink = INK[shade];
    const { width } = camera;
    drawMarks(pen, frame, width, height, axis, ink);
    drawGaps(pen, frame, Math.min(height, frame.bottom - scroll), ink);
    inLanes(pen, frame, width, height, scroll, () => {
        if (frame.laneHeight >= LINED_PX) drawLines(pen, frame, width, ink);
        drawBars(pen, frame, { fills, shade, selected, from: frame.top + scroll, to: height + scroll });
    });
    if (frame.live >= 0 && frame.live <= width) {
        const end = Math.min(height, Math.max(frame.bottom - scroll, frame.top + 20));
        pen.fillStyle = ink.strong;
        pen.fillRect(Math.round(frame.live), frame.top - 6, 1.5, end - frame.top + 6);
        pen.beginPath();
        pen.arc(Math.round(frame.live) + 0.75, frame.top - 6, 3.5, 0, 2 * Math.PI);
        pen.fill();
    }
}

/** Times along the top, and their lines. */
function drawMarks(pen, frame, width, height, axis, ink) {
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    pen.strokeStyle = ink.line;
    pen.beginPath();
    for (const { x } of frame.ticks) {
        pen.moveTo(Math.round(x) + 0.5, axis ? frame.top - 6 : frame.top);
        pen.lineTo(Math.round(x) + 0.5, height);
    }
    pen.stroke();
    if (!axis) return;
    pen.fillStyle = ink.text;
    pen.textAlign = "center";
    for (const { x, time } of frame.ticks) {
        const label = clock(time, frame.step < 1 ? 1 : 0);
        const half = pen.measureText(label).width / 2 + 4;
        if (x > half && x < width - half) pen.fillText(label, x, frame.top / 2 - 1);
    }
}

/** Draws the content of the lanes, scrolled by the given number of pixels under the axis. */
function inLanes(pen, frame, width, height, scroll, draw) {
    pen.save();
    if (scroll > 0) {
        pen.beginPath();
        pen.rect(0, frame.top, width, height - frame.top);
        pen.clip();
        pen.translate(0, -scroll);
    }
    draw();
    pen.restore();
}

function drawLines(pen, frame, width, ink) {
    pen.strokeStyle = ink.line;
    pen.beginPath();
    for (const place of frame.lanes.values()) {
        const y = Math.round(place.y + frame.laneHeight) - 0.5;
        pen.moveTo(0, y);
        pen.lineTo(width, y);
    }
    pen.stroke();
}

function drawBars(pen, frame, { fills, shade, selected, from, to }) {
    const inset = frame.laneHeight > 20 ? 5 : Math.min(2, frame.laneHeight / 6);
    const moving = [];
    const narrow = new Map();
    for (const bar of frame.bars) {
        if (bar.y > to || bar.y + bar.height < from) continue;
        if (bar.isMoving) {
            moving.push(bar);
        } else if (bar.final && bar.width < NARROW_PX) {
            const same = narrow.get(bar.speaker);
            if (same) same.push(bar);
            else narrow.set(bar.speaker, [bar]);
        } else {
            drawBar(pen, bar, fills, shade, inset);
        }
    }
    // Where thousands are in sight each is a sliver that shows no pattern: one fill a speaker keeps that fast.
    for (const [speaker, bars] of narrow) {
        pen.fillStyle = fills.of(pen, speaker).colour;
        for (const bar of bars) pen.fillRect(bar.x, bar.y + inset, Math.max(1, bar.width), bar.height - 2 * inset);
    }
    for (const bar of moving) drawBar(pen, bar, fills, shade, inset);
    const marked = selected === undefined ? undefined : frame.bars.find((bar) => bar.id === selected);
    if (marked) {
        pen.strokeStyle = INK[shade].strong;
        pen.lineWidth = 2.5;
        pen.beginPath();
        pen.roundRect(marked.x - 2.5, marked.y + inset - 2.5, marked.width + 4, marked.height - 2 * inset + 5, 7);
        pen.stroke();
    }
}

/** Writes the names of the lanes at their left edge, over the bars but on their own ground. */
export function drawNames(pen, frame, nameOf, fills, { width, height, scroll = 0, maxWidth }) {
    inLanes(pen, frame, width, height, scroll, () => {
        writeNames(pen, frame, nameOf, fills, { maxWidth, from: frame.top + scroll, to: height + scroll });
    });
}

function writeNames(pen, frame, nameOf, fills, { maxWidth, from, to }) {
    const ink = INK[fills.shade];
    pen.font = `600 ${FONT}`;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const [label, place] of frame.lanes) {
        if (place.y > to || place.y + frame.laneHeight < from) continue;
        const name = shorten(pen, nameOf(label), maxWidth);
        const y = place.y + frame.laneHeight / 2;
        const width = pen.measureText(name).width + 28;
        pen.globalAlpha = place.alpha * 0.92;
        pen.fillStyle = ink.ground;
        pen.beginPath();
        pen.roundRect(6, y - 10, width + 4, 20, 6);
        pen.fill();
        pen.globalAlpha = place.alpha;
        pen.fillStyle = fills.of(pen, label).pattern;
        pen.fillRect(12, y - 6, 12, 12);
        pen.fillStyle = ink.strong;
        pen.fillText(name, 30, y + 0.5);
        pen.globalAlpha = 1;
    }
}

function shorten(pen, name, maxWidth) {
    if (pen.measureText(name).width <= maxWidth) return name;
    let [low, high] = [0, name.length];
    while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (pen.measureText(`${name.slice(0, middle)}…`).width <= maxWidth) low = middle;
        else high = middle - 1;
    }
    return `${name.slice(0, low)}…`;
}
